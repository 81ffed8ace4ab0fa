//! The imports inside each folder of `crates/*/src` form no cycle.
//!
//! The nodes of a folder are its files; a folder inside it is one node. There is an edge where one
//! file names an item of another, in a `use` or by a path in its code (`super::table::KeyUse`).
//! Names are followed through re-exports to the file that defines them, so `crate::Entry` is an
//! edge to `entry`, not to `lib.rs`.
//!
//! `lib.rs`, `mod.rs`, and an `x.rs` beside its folder `x`, are nodes of the folder they open. A
//! `pub use` of a child is the folder's table of contents and no edge, unless the file also uses
//! the name in its own code. An item that such a file defines belongs to the top of the folder: a
//! child that imports it while the file uses the child is a cycle. The item then moves to a leaf
//! of its own, or the child takes what it needs as an argument.
//!
//! Code under `#[cfg(test)]` is left out. A method called on a value is no edge: only its type's
//! name can be seen here.

use std::collections::{BTreeMap, BTreeSet};

use super::rust::{Kind, Token, tokens};

/// Folders that still have cycles: the folder, a file in it, and the files that this one uses in a
/// cycle. An edge that is part of no cycle any more is an error, so the list can only shrink.
const STILL_CYCLIC: &[(&str, &str, &str)] = &[
    ("crates/cache-testkit/src/conformance", "bounds.rs", "mod.rs"),
    ("crates/cache-testkit/src/conformance", "mod.rs", "bounds.rs"),
    ("crates/cache-testkit/src/conformance/policy", "mod.rs", "rules.rs"),
    ("crates/cache-testkit/src/conformance/policy", "rules.rs", "mod.rs steps.rs"),
    ("crates/cache-testkit/src/conformance/policy", "steps.rs", "mod.rs"),
    ("crates/cache-testkit/src/conformance/validator", "mod.rs", "questions.rs writes.rs"),
    ("crates/cache-testkit/src/conformance/validator", "questions.rs", "mod.rs"),
    ("crates/cache-testkit/src/conformance/validator", "writes.rs", "mod.rs"),
    ("crates/cache-testkit/src/s3", "bulk.rs", "list.rs objects.rs record.rs"),
    ("crates/cache-testkit/src/s3", "conditions.rs", "record.rs"),
    ("crates/cache-testkit/src/s3", "fault.rs", "record.rs"),
    ("crates/cache-testkit/src/s3", "list.rs", "objects.rs record.rs"),
    ("crates/cache-testkit/src/s3", "objects.rs", "bulk.rs conditions.rs fault.rs list.rs"),
    ("crates/cache-testkit/src/s3", "objects.rs", "record.rs"),
    ("crates/cache-testkit/src/s3", "record.rs", "bulk.rs"),
    ("crates/cache-testkit/src/simulation", "bus.rs", "origin.rs schedule.rs"),
    ("crates/cache-testkit/src/simulation", "lists.rs", "origin.rs schedule.rs"),
    ("crates/cache-testkit/src/simulation", "mod.rs", "node.rs schedule.rs"),
    ("crates/cache-testkit/src/simulation", "node.rs", "bus.rs lists.rs mod.rs origin.rs"),
    ("crates/cache-testkit/src/simulation", "node.rs", "schedule.rs"),
    ("crates/cache-testkit/src/simulation", "origin.rs", "lists.rs recorder.rs schedule.rs"),
    ("crates/cache-testkit/src/simulation", "recorder.rs", "schedule.rs"),
    ("crates/cache-testkit/src/simulation", "schedule.rs", "mod.rs"),
    ("crates/cache-testkit/src/simulation/store", "mod.rs", "play.rs schedule.rs"),
    ("crates/cache-testkit/src/simulation/store", "play.rs", "mod.rs schedule.rs world.rs"),
    ("crates/cache-testkit/src/simulation/store", "schedule.rs", "mod.rs"),
    ("crates/cache-testkit/src/simulation/store", "world.rs", "schedule.rs"),
    ("crates/cache-testkit/src/store", "fault.rs", "record.rs"),
    ("crates/cache-testkit/src/store", "record.rs", "fault.rs"),
];

/// The cycles among `sources`, by path and text, that are not in [`STILL_CYCLIC`]; and what in that
/// list is out of date.
pub(super) fn findings<'a>(sources: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    report(&cyclic(sources), STILL_CYCLIC)
}

/// An edge between two files of one folder, with the places that make it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Edge {
    folder: String,
    from: String,
    to: String,
    /// `path:line: name`.
    places: Vec<String>,
}

fn report(cyclic: &[Edge], known: &[(&str, &str, &str)]) -> Vec<String> {
    let pairs =
        known.iter().flat_map(|(folder, from, to)| to.split(' ').map(|to| (*folder, *from, to)));
    let known: BTreeSet<_> = pairs.collect();
    let found: BTreeSet<_> =
        cyclic.iter().map(|edge| (&*edge.folder, &*edge.from, &*edge.to)).collect();
    let mut findings = Vec::new();
    for Edge { folder, from, to, places } in cyclic {
        if !known.contains(&(folder, from, to)) {
            let places = places.join("\n    ");
            findings.push(format!("{folder}: {from} uses {to}, as part of a cycle\n    {places}"));
        }
    }
    for (folder, from, to) in known.difference(&found) {
        findings.push(format!(
            "{folder}: {from} uses {to} in no cycle any more; take it out of STILL_CYCLIC in \
             xtask/src/ci/cycles.rs"
        ));
    }
    findings
}

/// The edges that are part of a cycle, by folder.
fn cyclic<'a>(sources: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<Edge> {
    let sources: BTreeMap<_, _> = sources.collect();
    let roots =
        sources.keys().filter(|path| path.starts_with("crates/") && path.ends_with("/src/lib.rs"));
    let mut edges = BTreeMap::<(String, String, String), Vec<String>>::new();
    for root in roots {
        for (folder, from, to, place) in Crate::read(root, &sources).edges() {
            let places = edges.entry((folder, from, to)).or_default();
            if !places.contains(&place) {
                places.push(place);
            }
        }
    }
    let mut all = BTreeMap::<&str, BTreeSet<(&str, &str)>>::new();
    for (folder, from, to) in edges.keys() {
        all.entry(folder).or_default().insert((from, to));
    }
    let is_cyclic = |folder: &str, from: &str, to: &str| reaches(&all[folder], to, from);
    let cyclic = edges.iter().filter(|((folder, from, to), _)| is_cyclic(folder, from, to));
    cyclic
        .map(|((folder, from, to), places)| Edge {
            folder: folder.clone(),
            from: from.clone(),
            to: to.clone(),
            places: places.clone(),
        })
        .collect()
}

fn reaches(edges: &BTreeSet<(&str, &str)>, from: &str, to: &str) -> bool {
    let (mut seen, mut open) = (BTreeSet::from([from]), vec![from]);
    while let Some(here) = open.pop() {
        if here == to {
            return true;
        }
        let next = edges.iter().filter(|(from, _)| *from == here).map(|(_, to)| *to);
        open.extend(next.filter(|to| seen.insert(to)));
    }
    false
}

/// The modules of a crate, by their path from its root.
struct Crate<'a> {
    modules: BTreeMap<Vec<&'a str>, Module<'a>>,
}

struct Module<'a> {
    /// From the workspace's root.
    file: String,
    children: BTreeSet<&'a str>,
    uses: Vec<Use<'a>>,
    /// Paths with at least two parts, outside of `use`.
    paths: Vec<(Vec<&'a str>, usize)>,
    /// Words outside of `use` and paths, and where each is first.
    words: BTreeMap<&'a str, usize>,
}

struct Use<'a> {
    path: Vec<&'a str>,
    /// The name in this file; `*` for all.
    name: &'a str,
    is_public: bool,
    line: usize,
}

impl<'a> Crate<'a> {
    fn read(root: &str, sources: &BTreeMap<&'a str, &'a str>) -> Self {
        let folder = root.trim_end_matches("lib.rs");
        let mut modules = BTreeMap::new();
        let mut open = vec![(Vec::new(), root.to_owned())];
        while let Some((path, file)) = open.pop() {
            let module = Module::read(file, sources);
            for child in &module.children {
                let path: Vec<_> = path.iter().copied().chain([*child]).collect();
                let stem = format!("{folder}{}", path.join("/"));
                let files = [format!("{stem}.rs"), format!("{stem}/mod.rs")];
                let file = files.into_iter().find(|file| sources.contains_key(file.as_str()));
                open.extend(file.map(|file| (path, file)));
            }
            modules.insert(path, module);
        }
        Self { modules }
    }

    /// The folder, the files in it that an edge leads from and to, and the place that makes it.
    fn edges(&self) -> Vec<(String, String, String, String)> {
        let mut edges = Vec::new();
        for (from, module) in &self.modules {
            let mut add = |path: &[&'a str], line: usize| {
                let Some(to) = self.owner(from, path, 0) else { return };
                if to != *from {
                    let (folder, a, b) = self.between(from, &to);
                    edges.push((
                        folder,
                        a,
                        b,
                        format!("{}:{line}: {}", module.file, path.join("::")),
                    ));
                }
            };
            for one in &module.uses {
                let line = if one.is_public { module.words.get(one.name) } else { Some(&one.line) };
                line.into_iter().for_each(|line| add(&one.path, *line));
            }
            // A name that a `use` binds has its edge already.
            let is_whole = |path: &[&str]| !module.uses.iter().any(|one| one.name == path[0]);
            let whole = module.paths.iter().filter(|(path, _)| is_whole(path));
            whole.for_each(|(path, line)| add(path, *line));
        }
        edges
    }

    /// The module that defines what `path` names in `from`; none if another crate does.
    fn owner(&self, from: &[&'a str], path: &[&'a str], depth: usize) -> Option<Vec<&'a str>> {
        // Two re-exports of each other do not compile; what is deeper than this is not ours.
        if depth > 16 {
            return None;
        }
        let (mut here, mut rest) = (from.to_vec(), path);
        match rest {
            ["crate", after @ ..] => (here, rest) = (Vec::new(), after),
            ["self", after @ ..] => rest = after,
            ["super", ..] => {
                while let ["super", after @ ..] = rest {
                    here.pop()?;
                    rest = after;
                }
            }
            [first, ..] if !self.modules[from].binds(first) => return None,
            _ => {}
        }
        while let [name, after @ ..] = rest {
            let module = &self.modules[&here];
            let child: Vec<_> = here.iter().copied().chain([*name]).collect();
            if self.modules.contains_key(&child) {
                (here, rest) = (child, after);
            } else if let Some(import) = module.uses.iter().find(|one| one.name == *name) {
                let whole: Vec<_> = import.path.iter().chain(after).copied().collect();
                return self.owner(&here, &whole, depth + 1);
            } else {
                break;
            }
        }
        Some(here)
    }

    /// The folder that has both, and what each of them is in there.
    fn between(&self, from: &[&'a str], to: &[&'a str]) -> (String, String, String) {
        let shared = from.iter().zip(to).take_while(|(a, b)| a == b).count();
        let node = |path: &[&'a str]| match path.get(shared) {
            Some(name) if self.modules[&path[..=shared]].is_folder() => format!("{name}/"),
            Some(name) => format!("{name}.rs"),
            None => self.modules[path].file.rsplit('/').next().unwrap_or_default().to_owned(),
        };
        let root = self.modules[&[][..]].file.trim_end_matches("/lib.rs");
        let folder = [&[root], &from[..shared]].concat().join("/");
        (folder, node(from), node(to))
    }
}

impl<'a> Module<'a> {
    fn read(file: String, sources: &BTreeMap<&'a str, &'a str>) -> Self {
        let text = sources.get(file.as_str()).copied().unwrap_or_default();
        let tokens: Vec<_> =
            tokens(text).into_iter().filter(|token| token.kind != Kind::Comment).collect();
        let mut module = Self {
            file,
            children: BTreeSet::new(),
            uses: Vec::new(),
            paths: Vec::new(),
            words: BTreeMap::new(),
        };
        Reader { rest: &tokens, depth: 0, inline: Vec::new(), is_public: false }.read(&mut module);
        module
    }

    fn is_folder(&self) -> bool {
        self.file.ends_with("/mod.rs") || !self.children.is_empty()
    }

    fn binds(&self, name: &str) -> bool {
        self.children.contains(name) || self.uses.iter().any(|one| one.name == name)
    }
}

struct Reader<'t, 'a> {
    rest: &'t [Token<'a>],
    /// Open braces.
    depth: usize,
    /// The depths at which a `mod x {` was opened.
    inline: Vec<usize>,
    /// Whether `pub` was just read.
    is_public: bool,
}

impl<'a> Reader<'_, 'a> {
    fn read(mut self, module: &mut Module<'a>) {
        while let Some(token) = self.rest.first().copied() {
            match self.rest {
                [hash, open, ..] if hash.is("#") && open.is("[") => self.attribute(),
                [public, ..] if public.is("pub") => {
                    self.skip(1);
                    if self.rest.first().is_some_and(|token| token.is("(")) {
                        self.skip_group();
                    }
                    self.is_public = true;
                    continue;
                }
                [word, name, end, ..] if word.is("mod") && end.is(";") => {
                    if self.inline.is_empty() {
                        module.children.insert(name.text);
                    }
                    self.skip(3);
                }
                [word, _, open, ..] if word.is("mod") && open.is("{") => {
                    self.inline.push(self.depth);
                    self.depth += 1;
                    self.skip(3);
                }
                // `impl Trait + use<'a>` imports nothing.
                [word, bounds, ..] if word.is("use") && bounds.is("<") => self.skip(2),
                [word, ..] if word.is("use") => {
                    let (is_public, line) = (self.is_public, token.line);
                    self.skip(1);
                    let mut uses = Vec::new();
                    self.tree(&mut Vec::new(), &mut uses);
                    let of_file = uses.into_iter().filter_map(|(path, name)| {
                        let path = self.as_in_file(path)?;
                        Some(Use { path, name, is_public, line })
                    });
                    module.uses.extend(of_file);
                }
                _ if token.is("{") => {
                    self.depth += 1;
                    self.skip(1);
                }
                _ if token.is("}") => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.inline.last() == Some(&self.depth) {
                        self.inline.pop();
                    }
                    self.skip(1);
                }
                // A field, a method: not a name of the module.
                [dot, word, ..] if dot.is(".") && word.kind == Kind::Word => self.skip(2),
                _ if token.kind == Kind::Word => {
                    let path = self.path();
                    if path.len() == 1 {
                        module.words.entry(path[0]).or_insert(token.line);
                    } else if let Some(path) = self.as_in_file(path) {
                        module.words.entry(path[0]).or_insert(token.line);
                        module.paths.push((path, token.line));
                    }
                }
                _ => self.skip(1),
            }
            self.is_public = false;
        }
    }

    fn skip(&mut self, n: usize) {
        self.rest = self.rest.get(n..).unwrap_or_default();
    }

    /// A group in brackets of any kind, at whose first bracket we stand.
    fn skip_group(&mut self) {
        let mut depth = 0_usize;
        while let Some(token) = self.rest.first() {
            let (opens, closes) = (is_any(token, "([{"), is_any(token, ")]}"));
            depth = (depth + usize::from(opens)).saturating_sub(usize::from(closes));
            self.skip(1);
            if depth == 0 {
                break;
            }
        }
    }

    /// An attribute, and if that leaves the item to tests, the item.
    fn attribute(&mut self) {
        self.skip(1);
        let before = self.rest;
        self.skip_group();
        let words: Vec<_> =
            before[..before.len() - self.rest.len()].iter().map(|token| token.text).collect();
        if !words.starts_with(&["[", "cfg", "(", "test", ")"])
            && !words.starts_with(&["[", "cfg", "(", "all", "(", "test"])
        {
            return;
        }
        let is_field =
            matches!(self.rest, [name, colon, ..] if name.kind == Kind::Word && colon.is(":"));
        while let Some(token) = self.rest.first() {
            if is_any(token, "([{") {
                let ends = token.is("{");
                self.skip_group();
                if ends {
                    break;
                }
            } else if token.is(";") || is_field && token.is(",") {
                self.skip(1);
                break;
            } else if is_any(token, ")]}") {
                break;
            } else {
                self.skip(1);
            }
        }
    }

    /// The paths of a `use`, behind that word, each with the name it binds.
    fn tree(&mut self, before: &mut Vec<&'a str>, uses: &mut Vec<(Vec<&'a str>, &'a str)>) {
        let len = before.len();
        while let Some(token) = self.rest.first().copied() {
            match token.text {
                "{" => {
                    self.skip(1);
                    while self.rest.first().is_some_and(|token| !token.is("}")) {
                        self.tree(before, uses);
                        if self.rest.first().is_some_and(|token| token.is(",")) {
                            self.skip(1);
                        }
                    }
                    self.skip(1);
                    before.truncate(len);
                    return;
                }
                "*" => {
                    self.skip(1);
                    uses.push((before.clone(), "*"));
                    before.truncate(len);
                    return;
                }
                ":" => self.skip(1),
                ";" | "," | "}" => break,
                "as" => {
                    let name = self.rest.get(1).map_or("_", |token| token.text);
                    self.skip(2);
                    uses.push((before.clone(), name));
                    before.truncate(len);
                    return;
                }
                word => {
                    self.skip(1);
                    before.push(word);
                }
            }
        }
        // `use a::b::{self}` names `b`.
        let path = if before.last() == Some(&"self") && before.len() > 1 {
            before[..before.len() - 1].to_vec()
        } else {
            before.clone()
        };
        if let Some(name) = path.last().copied() {
            uses.push((path, name));
        }
        before.truncate(len);
    }

    /// `a::b::c`, at whose first word we stand.
    fn path(&mut self) -> Vec<&'a str> {
        let mut path = Vec::new();
        while let Some(word) = self.rest.first().filter(|token| token.kind == Kind::Word) {
            path.push(word.text);
            self.skip(1);
            match self.rest {
                [a, b, word, ..] if a.is(":") && b.is(":") && word.kind == Kind::Word => {
                    self.skip(2);
                }
                _ => break,
            }
        }
        path
    }

    /// A path as the file would write it outside of the modules in it; none if it stays in them.
    fn as_in_file(&self, path: Vec<&'a str>) -> Option<Vec<&'a str>> {
        let ups = path.iter().take_while(|word| **word == "super").count();
        match (self.inline.len(), path.first()) {
            (0, _) | (_, Some(&"crate")) => Some(path),
            (depth, _) if ups > depth => Some(path[depth..].to_vec()),
            (depth, _) if ups == depth => {
                Some(["self"].into_iter().chain(path[depth..].iter().copied()).collect())
            }
            _ => None,
        }
    }
}

fn is_any(token: &Token<'_>, marks: &str) -> bool {
    token.kind == Kind::Mark && marks.contains(token.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks which edges of the crate `a` are part of a cycle; `sources` are paths below its
    /// `src`, and their texts.
    #[track_caller]
    fn check(sources: &[(&str, &str)], expected: &[(&str, &str, &str)]) {
        let sources: Vec<_> =
            sources.iter().map(|(path, text)| (format!("crates/a/src/{path}"), *text)).collect();
        let edges = cyclic(sources.iter().map(|(path, text)| (path.as_str(), *text)));
        let found: Vec<_> = edges
            .iter()
            .map(|edge| {
                let folder = edge.folder.strip_prefix("crates/a/").unwrap();
                (folder, edge.from.as_str(), edge.to.as_str())
            })
            .collect();
        assert_eq!(found, expected);
    }

    const LIB: (&str, &str) = ("lib.rs", "mod x;\nmod y;\npub use crate::{x::X, y::Y};");

    #[test]
    fn two_files_that_import_each_other_are_a_cycle() {
        let both = [("src", "x.rs", "y.rs"), ("src", "y.rs", "x.rs")];
        check(&[LIB, ("x.rs", "use crate::y::Y;"), ("y.rs", "use super::x::{A, X};")], &both);
        check(&[LIB, ("x.rs", "fn f(y: &crate::y::Y) {}"), ("y.rs", "use crate::x;")], &both);
        check(&[LIB, ("x.rs", "use crate::y::Y;"), ("y.rs", "use crate::key::X;")], &[]);
        check(&[LIB, ("x.rs", "// use crate::y::Y;"), ("y.rs", "use crate::x::X;")], &[]);
        let bounds = "use crate::y::Y; fn f<'a>() -> impl Y + use<'a> { f() }";
        check(&[LIB, ("x.rs", bounds), ("y.rs", "use crate::x::X;")], &both);
    }

    #[test]
    fn a_name_is_followed_to_the_file_that_defines_it() {
        let both = [("src", "x.rs", "y.rs"), ("src", "y.rs", "x.rs")];
        check(&[LIB, ("x.rs", "use crate::Y;"), ("y.rs", "use crate::{X as Other};")], &both);
        // An item of another crate, re-exported here.
        let lib = ("lib.rs", "mod x;\nmod y;\npub use bytes::Bytes;\npub use crate::x::X;");
        check(&[lib, ("x.rs", "use crate::Bytes;"), ("y.rs", "use crate::X;")], &[]);
    }

    #[test]
    fn a_longer_cycle_is_found_with_only_its_own_edges() {
        let lib = ("lib.rs", "mod a; mod b; mod c; mod d;");
        check(
            &[
                lib,
                ("a.rs", "use crate::b::B;"),
                ("b.rs", "use crate::{c::C, d::D};"),
                ("c.rs", "use crate::a::A;"),
            ],
            &[("src", "a.rs", "b.rs"), ("src", "b.rs", "c.rs"), ("src", "c.rs", "a.rs")],
        );
    }

    #[test]
    fn a_folder_is_one_node_of_the_one_above() {
        let lib = ("lib.rs", "mod x; mod y;");
        check(
            &[
                lib,
                ("x/mod.rs", "mod one; mod two;"),
                ("x/one.rs", "use super::two::Two; use crate::y::Y;"),
                ("y.rs", "use crate::x::two::Two;"),
            ],
            &[("src", "x/", "y.rs"), ("src", "y.rs", "x/")],
        );
    }

    #[test]
    fn a_re_export_is_an_edge_only_where_the_file_uses_the_name() {
        let one = ("x/one.rs", "use super::Shared;");
        let lib = ("lib.rs", "mod x;");
        check(&[lib, ("x/mod.rs", "mod one; pub use one::One; struct Shared;"), one], &[]);
        check(
            &[lib, ("x/mod.rs", "mod one; pub use one::One; struct Shared(One);"), one],
            &[("src/x", "mod.rs", "one.rs"), ("src/x", "one.rs", "mod.rs")],
        );
        check(
            &[lib, ("x.rs", "mod one; struct Shared; fn f() { one::f(); }"), one],
            &[("src/x", "one.rs", "x.rs"), ("src/x", "x.rs", "one.rs")],
        );
    }

    #[test]
    fn tests_are_left_out() {
        let y = ("y.rs", "use crate::x::X;");
        for x in [
            "#[cfg(test)] mod tests { use crate::y::Y; }",
            "#[cfg(all(test, unix))]\n#[allow(dead_code)]\nmod tests { fn f() { crate::y::f() } }",
            "#[cfg(test)] use crate::y::Y;",
            "#[cfg(test)] mod z;",
            "struct S { #[cfg(test)] y: crate::y::Y, x: u8 }",
        ] {
            check(&[LIB, ("x.rs", x), ("x/z.rs", "use crate::y::Y;"), y], &[]);
        }
        let both = [("src", "x.rs", "y.rs"), ("src", "y.rs", "x.rs")];
        for x in ["#[cfg(test)] mod tests { } use crate::y::Y;", "#[cfg(unix)] use crate::y::Y;"] {
            check(&[LIB, ("x.rs", x), y], &both);
        }
    }

    #[test]
    fn super_in_a_module_inside_of_a_file_is_the_file() {
        let y = ("y.rs", "use crate::x::X;");
        check(&[LIB, ("x.rs", "mod on { use super::y::Y; } mod y { }"), y], &[]);
        let both = [("src", "x.rs", "y.rs"), ("src", "y.rs", "x.rs")];
        check(&[LIB, ("x.rs", "mod on { use super::super::y::Y; }"), y], &both);
        check(&[LIB, ("x.rs", "mod on { } fn f() { super::y::f(); }"), y], &both);
    }

    #[test]
    fn a_listed_cycle_is_no_finding_as_long_as_it_exists() {
        let edge = |from: &str, to: &str| Edge {
            folder: "src".to_owned(),
            from: from.to_owned(),
            to: to.to_owned(),
            places: vec![format!("{from}:1: {to}")],
        };
        let both = [edge("x.rs", "y.rs"), edge("y.rs", "x.rs")];
        let known = [("src", "x.rs", "y.rs"), ("src", "y.rs", "x.rs")];
        assert_eq!(report(&both, &known), [""; 0]);
        let new = "src: y.rs uses x.rs, as part of a cycle\n    y.rs:1: x.rs";
        assert_eq!(report(&both, &known[..1]), [new]);
        let old = report(&[], &[("src", "x.rs", "y.rs z.rs")]);
        assert_eq!(old.len(), 2);
        assert!(old[0].starts_with("src: x.rs uses y.rs in no cycle any more"), "{old:?}");
    }
}
