//! The faults.

use super::{Edit, Mutant};

const FENCE: &str = "crates/cache-core/src/fence.rs";
const FLIGHT: &str = "crates/cache-core/src/read_through/flight.rs";
const DRIVE: &str = "crates/cache-core/src/read_through/drive.rs";
const READ: &str = "crates/cache-core/src/read_through/read.rs";
const HELD: &str = "crates/cache-core/src/read_through/held.rs";
const PLACES: &str = "crates/cache-core/src/read_through/places.rs";
const TIMEOUTS: &str = "crates/cache-core/src/read_through/timeouts.rs";
const SWEEP: &str = "crates/cache-core/src/read_through/sweep.rs";
const ABSENCES: &str = "crates/cache-core/src/read_through/absences.rs";
const WRITE: &str = "crates/cache-core/src/read_through/write.rs";
const TABLE: &str = "crates/cache-core/src/read_through/table.rs";
const CACHE: &str = "crates/cache-core/src/read_through/mod.rs";
const FRESHNESS: &str = "crates/cache-core/src/freshness.rs";
const STAMP: &str = "crates/cache-core/src/entry/stamp.rs";
const BUILDER: &str = "crates/cache-core/src/entry/builder.rs";
const ERROR: &str = "crates/cache-core/src/error.rs";
const DECODED: &str = "crates/cache-core/src/decoded.rs";
const PREFIX_TREE: &str = "crates/cache-core/src/prefix_tree.rs";

// A write that takes its fence down again as soon as it runs, and puts up none at its end.

const SILENT: Edit = Edit {
    path: WRITE,
    text: "    /// The backend is being changed.\n    changing: bool,\n",
    replacement: "    changing: bool,\n    silent: bool,\n",
};

const SILENT_AT_BEGIN: Edit = Edit {
    path: WRITE,
    text: "bare: Arc::default(), changing: false })\n    }\n",
    replacement: "bare: Arc::default(), changing: false, silent: false })
    }

    fn silence(&mut self) {
        let mut state = self.tracked.lock();
        state.generation -= 1;
        state.writes -= 1;
        self.silent = true;
    }\n",
};

const SILENT_AT_END: Edit = Edit {
    path: WRITE,
    text: "        state.fence();\n        state.writes -= 1;",
    replacement: "        if !self.silent {
            state.fence();
            state.writes -= 1;
        }",
};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "a strong reader joins a running flight",
        edits: &[Edit {
            path: READ,
            text: "now.is_some_and(|now| freshness.accepts(sent_at, now))",
            replacement: "now.is_none_or(|now| freshness.accepts(sent_at, now))",
        }],
    },
    Mutant {
        name: "the join compares with `<=`, for strong readers too",
        edits: &[
            Edit {
                path: READ,
                text: "now.is_some_and(|now| freshness.accepts(sent_at, now))",
                replacement: "freshness.accepts(sent_at, now.unwrap_or_else(|| shared.clock.now()))",
            },
            Edit {
                path: FRESHNESS,
                text: "age(asked_at, now) < self.max_age\n",
                replacement: "age(asked_at, now) <= self.max_age\n",
            },
        ],
    },
    Mutant {
        name: "a fenced flight is joined",
        edits: &[Edit {
            path: READ,
            text: "let ticket = if unfenced && in_time {",
            replacement: "let ticket = if (unfenced || now.is_some()) && in_time {",
        }],
    },
    Mutant {
        name: "a write fences at its begin only",
        edits: &[Edit {
            path: WRITE,
            text: "        state.fence();\n        state.writes -= 1;",
            replacement: "        state.writes -= 1;",
        }],
    },
    Mutant {
        name: "a write fences at its end only",
        edits: &[Edit {
            path: WRITE,
            text: "        state.fence();\n        state.writes += 1;",
            replacement: "        state.writes += 1;",
        }],
    },
    Mutant {
        name: "an open write does not hold a flight back",
        edits: &[Edit { path: FLIGHT, text: "            || writes > 0\n", replacement: "" }],
    },
    Mutant {
        name: "no fence on put",
        edits: &[
            SILENT,
            SILENT_AT_BEGIN,
            SILENT_AT_END,
            Edit {
                path: WRITE,
                text: "        write.drop_held(Count::InvalidatedByWrite).await;\n        let (shared, key) = (Arc",
                replacement: "        write.silence();\n        write.drop_held(Count::InvalidatedByWrite).await;\n        let (shared, key) = (Arc",
            },
        ],
    },
    Mutant {
        name: "no fence on delete",
        edits: &[
            SILENT,
            SILENT_AT_BEGIN,
            SILENT_AT_END,
            Edit {
                path: WRITE,
                text: "        write.drop_held(Count::InvalidatedByWrite).await;\n        let (shared, key) = (&write",
                replacement: "        write.silence();\n        write.drop_held(Count::InvalidatedByWrite).await;\n        let (shared, key) = (&write",
            },
        ],
    },
    Mutant {
        name: "no fence on invalidate",
        edits: &[
            SILENT,
            SILENT_AT_BEGIN,
            SILENT_AT_END,
            Edit {
                path: WRITE,
                text: "        write.drop_held(Count::InvalidatedByApi).await;\n        Ok(())",
                replacement: "        write.silence();\n        write.drop_held(Count::InvalidatedByApi).await;\n        Ok(())",
            },
        ],
    },
    Mutant {
        name: "no fence on expire",
        edits: &[
            SILENT,
            SILENT_AT_BEGIN,
            SILENT_AT_END,
            Edit {
                path: WRITE,
                text: "        write.mark_held().await;",
                replacement: "        write.silence();\n        write.mark_held().await;",
            },
        ],
    },
    Mutant {
        name: "no fence on an open write",
        edits: &[
            SILENT,
            SILENT_AT_BEGIN,
            SILENT_AT_END,
            Edit {
                path: WRITE,
                text: "        write.drop_held(Count::InvalidatedByWrite).await;\n        // Without",
                replacement: "        write.silence();\n        write.drop_held(Count::InvalidatedByWrite).await;\n        // Without",
            },
        ],
    },
    Mutant {
        name: "no fence on clear",
        edits: &[Edit {
            path: WRITE,
            text: "    shared.epochs.raise_whole();\n    let _end = WholeFence(&shared.epochs);\n",
            replacement: "",
        }],
    },
    Mutant {
        name: "clear fences at its begin only",
        edits: &[Edit { path: WRITE, text: "    let _end = WholeFence(&shared.epochs);\n", replacement: "" }],
    },
    Mutant {
        name: "no fence on invalidate_prefix",
        edits: &[Edit {
            path: CACHE,
            text: "        self.shared.epochs.raise_prefix(prefix);\n",
            replacement: "",
        }],
    },
    Mutant {
        name: "a floor covers no key below its prefix",
        edits: &[Edit {
            path: FENCE,
            text: "epoch < *floor && key.starts_with(&**prefix)",
            replacement: "epoch < *floor && **prefix == *key",
        }],
    },
    Mutant {
        name: "a void entry is served",
        edits: &[Edit {
            path: CACHE,
            text: "        if self.epochs.is_void(&entry) || entry.is_absent() {",
            replacement: "        if entry.is_absent() {",
        }],
    },
    Mutant {
        name: "a caller that goes away puts up no fence",
        edits: &[Edit {
            path: WRITE,
            text: "        self.tracked.lock().fence();\n        if !self.bare",
            replacement: "        if !self.bare",
        }],
    },
    Mutant {
        name: "a caller that goes away before its remove is done leaves the entry",
        edits: &[Edit {
            path: WRITE,
            text: "        if !self.bare.load(Ordering::Acquire) {",
            replacement: "        if false {",
        }],
    },
    Mutant {
        name: "waiters are woken before the answer is published",
        edits: &[Edit {
            path: FLIGHT,
            text: "        let landed = match self.tracked.turn(",
            replacement: "        if let Ok(Validation::Changed(entry)) = &answer {
            if let Some(running) = self.tracked.lock().flight(self.seq) {
                running.tell(&Landed::Entry(entry.clone(), Status::Fetched, question.asked_at));
            }
        }
        let landed = match self.tracked.turn(",
        }],
    },
    Mutant {
        name: "a fenced flight that brings news leaves an older entry held",
        edits: &[Edit {
            path: FLIGHT,
            text: "        forget(shared, key, Count::InvalidatedChanged).await;\n    } else {",
            replacement: "        if !fenced {\n            forget(shared, key, Count::InvalidatedChanged).await;\n        }\n    } else {",
        }],
    },
    Mutant {
        name: "a fenced flight publishes",
        edits: &[Edit {
            path: FLIGHT,
            text: "    if fenced || entry.keep() == Keep::Never {",
            replacement: "    if entry.keep() == Keep::Never {",
        }],
    },
    Mutant {
        name: "another flight is started beside a fenced one",
        edits: &[
            Edit {
                path: READ,
                text: "    let running = state.running.as_mut()?;\n",
                replacement:
                    "    if state.running.as_ref().is_some_and(|it| it.generation != state.generation) {
        let displaced = state.running.take();
        state.displaced.extend(displaced);
        hand_on(parked);
        return None;
    }
    let running = state.running.as_mut()?;\n",
            },
            Edit {
                path: FLIGHT,
                text: "    match state.waiting.take().filter(",
                replacement:
                    "    let waiting = if state.running.is_none() { state.waiting.take() } else { None };
    match waiting.filter(",
            },
            Edit {
                path: TABLE,
                text: "    pub(super) waiting: Option<Waiting>,\n",
                replacement: "    pub(super) waiting: Option<Waiting>,
    pub(super) displaced: Vec<Running>,\n",
            },
            Edit {
                path: TABLE,
                text: "        self.landings += 1;\n        self.running.take()",
                replacement: "        self.landings += 1;
        match self.displaced.iter().position(|running| running.seq == seq) {
            Some(at) => Some(self.displaced.remove(at)),
            None => self.running.take(),
        }",
            },
            Edit {
                path: TABLE,
                text: "        self.running.as_mut().filter(|running| running.seq == seq)",
                replacement: "        self.running.iter_mut().chain(&mut self.displaced).find(|running| running.seq == seq)",
            },
        ],
    },
    Mutant {
        name: "an answer without a tag leaves the old entry",
        edits: &[Edit {
            path: FLIGHT,
            text: "        forget(shared, key, Count::InvalidatedChanged).await;\n    } else {",
            replacement: "        if fenced {\n            forget(shared, key, Count::InvalidatedChanged).await;\n        }\n    } else {",
        }],
    },
    Mutant {
        name: "a failed remove is ignored",
        edits: &[Edit {
            path: HELD,
            text: "                self.epochs.raise_key(key.as_str());\n",
            replacement: "",
        }],
    },
    Mutant {
        name: "an insert that lands after a clear passes for newer",
        edits: &[Edit {
            path: FLIGHT,
            text: "        shared.keep(key, entry.clone()).await;\n        if replaced",
            replacement: "        shared.keep(key, entry.clone()).await;
        entry.outlive(shared.epochs.latest());\n        if replaced",
        }],
    },
    Mutant {
        name: "two answers race to be kept: a flight takes no turn",
        edits: &[Edit {
            path: FLIGHT,
            text: "match self.tracked.turn(shared.settings.turn_limit()).await {",
            replacement: "match Some(()) {",
        }],
    },
    Mutant {
        name: "a put's entry is kept although a flight was in the air",
        edits: &[
            Edit {
                path: WRITE,
                text: "clean: state.running.is_none() && state.writes == 1,",
                replacement: "clean: state.writes == 1,",
            },
            Edit {
                path: TABLE,
                text: "            seq: self.seq,\n            landings: self.landings,\n",
                replacement: "            seq: 0,\n            landings: 0,\n",
            },
        ],
    },
    Mutant {
        name: "a put's entry is kept although another write overlapped",
        edits: &[
            Edit {
                path: WRITE,
                text: "clean: state.running.is_none() && state.writes == 1,",
                replacement: "clean: state.running.is_none(),",
            },
            Edit {
                path: WRITE,
                text: "            && self.tracked.lock().stamp() == self.noted.stamp\n",
                replacement: "",
            },
        ],
    },
    Mutant {
        name: "an answer is vouched for when it came, not when it was asked for",
        edits: &[Edit {
            path: FLIGHT,
            text: "        let question = Question {",
            replacement: "        let (asked_at, _) = self.shared.clock.window();\n        let question = Question {",
        }],
    },
    Mutant {
        name: "a put's entry is vouched for when the answer came",
        edits: &[Edit {
            path: WRITE,
            text: "write.publish(entry, sent_at).await;",
            replacement: "let _ = sent_at;\n                write.publish(entry, shared.clock.now()).await;",
        }],
    },
    Mutant {
        name: "a \"not modified\" renews although a fence went up",
        edits: &[Edit {
            path: FLIGHT,
            text: "if let Some((false, epoch)) = self.is_fenced(&mut state, Some(&pinned)) {",
            replacement: "if let Some((_, epoch)) = self.is_fenced(&mut state, Some(&pinned)) {",
        }],
    },
    Mutant {
        name: "a \"not modified\" to a question without a tag passes for \"gone\"",
        edits: &[Edit {
            path: FLIGHT,
            text: "            Validation::Unchanged if question.pinned.is_none() => Err(",
            replacement: "            Validation::Unchanged if question.pinned.is_none() && question.void => Err(",
        }],
    },
    Mutant {
        name: "a 403 is treated as an outage",
        edits: &[
            Edit {
                path: ERROR,
                text: "matches!(self.kind(), ErrorKind::Timeout | ErrorKind::Unavailable)",
                replacement: "matches!(self.kind(), ErrorKind::Timeout | ErrorKind::Unavailable | ErrorKind::PermissionDenied)",
            },
            Edit {
                path: ERROR,
                text: "matches!(self.kind(), NotFound | PermissionDenied | Unauthenticated | TooLarge)",
                replacement: "matches!(self.kind(), NotFound | Unauthenticated | TooLarge) && self.kind() != PermissionDenied",
            },
        ],
    },
    Mutant {
        name: "stale_if_error has no end",
        edits: &[Edit {
            path: FRESHNESS,
            text: "            && age(vouched_at, now) < self.max_age.saturating_add(self.stale_if_error)\n",
            replacement: "            && age(vouched_at, now) < FOREVER\n",
        }],
    },
    Mutant {
        name: "stale_while_revalidate has no end",
        edits: &[Edit {
            path: FRESHNESS,
            text: "age(vouched_at, now) < freshness.max_age.saturating_add(freshness.stale_while_revalidate)",
            replacement: "age(vouched_at, now) < FOREVER && freshness.stale_while_revalidate != 0",
        }],
    },
    Mutant {
        name: "the time to live is not looked at",
        edits: &[Edit {
            path: STAMP,
            text: "max_age.min(self.time_to_live.nanos())",
            replacement: "max_age",
        }],
    },
    Mutant {
        name: "the mark of expire is not looked at",
        edits: &[Edit {
            path: STAMP,
            text: "        let is_vouched_for = self.vouched & MARK == 0;
        is_vouched_for && self.age(now)",
            replacement: "        self.vouched_at().is_some() && now.as_nanos().saturating_sub(self.vouched & !MARK)",
        }],
    },
    Mutant {
        name: "what a medium brings back passes for vouched for",
        edits: &[Edit {
            path: BUILDER,
            text: "vouched: AtomicU64::new(NEVER),",
            replacement: "vouched: AtomicU64::new(0),",
        }],
    },
    Mutant {
        name: "a copy of another store is served",
        edits: &[Edit {
            path: HELD,
            text: "entry.identity() == Some(self.settings.identity)",
            replacement: "entry.identity().is_some() || true",
        }],
    },
    Mutant {
        name: "a reader that is not polled keeps its place",
        edits: &[Edit { path: DRIVE, text: " && !self.shared.places.are_wanted()", replacement: "" }],
    },
    Mutant {
        name: "a place is never given back",
        edits: &[Edit {
            path: PLACES,
            text: "self.word.fetch_sub(1, Ordering::AcqRel) >= WAITING",
            replacement: "self.word.load(Ordering::Acquire) >= WAITING",
        }],
    },
    Mutant {
        name: "a place is given back after those who wait are woken",
        edits: &[
            Edit { path: FLIGHT, text: "        permit.free();\n", replacement: "        let _ = permit;\n" },
            Edit {
                path: FLIGHT,
                text: "    drop(permit);\n    running.tell(&landed);\n",
                replacement: "    running.tell(&landed);\n    drop(permit);\n",
            },
        ],
    },
    Mutant {
        name: "a place is given back after the next flight of the key may have begun",
        edits: &[Edit {
            path: FLIGHT,
            text: "        permit.free();\n",
            replacement: "        let _ = permit;\n",
        }],
    },
    Mutant {
        name: "one that waits for a place keeps all that are free",
        edits: &[Edit {
            path: PLACES,
            text: "word % WAITING + word / WAITING < self.most",
            replacement: "word < self.most",
        }],
    },
    Mutant {
        name: "a place that nobody takes is left to a flight that is not polled",
        edits: &[Edit {
            path: PLACES,
            text: "            if places.take_waiting() {",
            replacement: "            if false {",
        }],
    },
    Mutant {
        name: "a flight on a runtime that is not driven is waited for",
        edits: &[Edit {
            path: TIMEOUTS,
            text: "    replace(shared, &tracked, state, seq, &runtime);\n",
            replacement: "    let _ = (replace::<V>, seq);\n    drop(state);\n",
        }],
    },
    Mutant {
        name: "a timer stays in the runtime that it was made in",
        edits: &[Edit {
            path: TIMEOUTS,
            text: "Some((home, made)) if *home == here => made,",
            replacement: "Some((_, made)) => made,",
        }],
    },
    Mutant {
        name: "a flight that was vacated publishes",
        edits: &[
            Edit {
                path: FLIGHT,
                text: "                if tracked.lock().flight(seq).is_none() {",
                replacement: "                if false {",
            },
            Edit {
                path: FLIGHT,
                text: "        self.tracked.lock().flight(self.seq)?.phase = Phase::Landing(question.asked_at);\n",
                replacement: "",
            },
            Edit {
                path: FLIGHT,
                text: "self.is_fenced(&mut self.tracked.lock(), shown)?;",
                replacement: "self.is_fenced(&mut self.tracked.lock(), shown).unwrap_or((false, shared.epochs.latest()));",
            },
            Edit {
                path: FLIGHT,
                text: "                    shared.drop_held(key).await;\n",
                replacement: "",
            },
        ],
    },
    Mutant {
        name: "what a call of the backend leaves that was stuck is served",
        edits: &[
            Edit {
                path: FLIGHT,
                text: "        shared.epochs.raise_key(tracked.key.as_str());\n        tracked.turn",
                replacement: "        tracked.turn",
            },
            Edit {
                path: FLIGHT,
                text: "                shared.epochs.raise_key(key.as_str());\n",
                replacement: "",
            },
            Edit {
                path: FLIGHT,
                text: "                    shared.drop_held(key).await;\n",
                replacement: "",
            },
        ],
    },
    Mutant {
        name: "a reader does not join a flight that publishes",
        edits: &[Edit {
            path: READ,
            text: "        Phase::Asked(sent_at) | Phase::Landing(sent_at) => {",
            replacement: "        Phase::Landing(_) => false,\n        Phase::Asked(sent_at) => {",
        }],
    },
    Mutant {
        name: "a stale copy is served without a turn for its refresh",
        edits: &[Edit { path: READ, text: "                    yield_now().await;\n", replacement: "" }],
    },
    Mutant {
        name: "what an earlier process stored is void by epoch",
        edits: &[Edit {
            path: FENCE,
            text: "if entry.vouched_at().is_none() && entry.epoch() == NO_EPOCH {",
            replacement: "if entry.vouched_at().is_none() && entry.epoch() > latest {",
        }],
    },
    Mutant {
        name: "a merged floor is not the highest of its parts",
        edits: &[Edit {
            path: FENCE,
            text: "merged.map(|(_, floor)| floor).max()",
            replacement: "merged.map(|(_, floor)| floor).min()",
        }],
    },
    Mutant {
        name: "the sweep stays on a runtime that is not driven",
        edits: &[Edit {
            path: SWEEP,
            text: "expected_by != 0 && now.as_nanos() >= expected_by",
            replacement: "expected_by != 0 && now.as_nanos() == u64::MAX",
        }],
    },
    Mutant {
        name: "more negative entries are kept although none was swept",
        edits: &[Edit {
            path: ABSENCES,
            text: "        self.older == 0 && self.window",
            replacement: "        self.window",
        }],
    },
    Mutant {
        name: "the copy of an object that is gone is not dropped",
        edits: &[Edit {
            path: FLIGHT,
            text: "            let dropped = forget(shared, key, Count::InvalidatedGone).await;\n            remember_absence(",
            replacement: "            let dropped = Dropped::Nothing;\n            remember_absence(",
        }],
    },
    Mutant {
        name: "a missing object is remembered although a fence went up",
        edits: &[Edit {
            path: FLIGHT,
            text: "    if fenced || span.is_zero() {",
            replacement: "    let _ = fenced;\n    if span.is_zero() {",
        }],
    },
    Mutant {
        name: "a key's state is left in the table",
        edits: &[Edit { path: TABLE, text: "            found.get_mut().users -= 1;\n", replacement: "" }],
    },
    Mutant {
        name: "a coalesced request is counted twice",
        edits: &[Edit {
            path: FLIGHT,
            text: "        if let Some(request) = self.request.take() {\n",
            replacement: "        if self.is_awaited() {
            self.shared.count(Count::OriginUnchanged);
        }
        if let Some(request) = self.request.take() {\n",
        }],
    },
    Mutant {
        name: "a void negative entry counts as a copy",
        edits: &[Edit { path: HELD, text: "void: !entry.is_absent()", replacement: "void: true" }],
    },
    Mutant {
        name: "clears that overlap count each copy twice",
        edits: &[Edit {
            path: WRITE,
            text: "if let (Ok(n_copies), Ok(_)) = (&cleared, is_counting) {",
            replacement: "drop(is_counting);
        if let Ok(n_copies) = &cleared {",
        }],
    },
    Mutant {
        name: "a decoder calls itself for ever where nothing is kept",
        edits: &[Edit {
            path: DECODED,
            text: "(other.is_same(entry) || is_same_object)",
            replacement: "(other.is_same(entry) || is_same_object && false)",
        }],
    },
    Mutant {
        name: "a decoder that has ended counts as running",
        edits: &[Edit { path: DECODED, text: "drop(DECODING.with_borrow_mut(Vec::pop));", replacement: "" }],
    },
    Mutant {
        name: "a prefix without a rule hides the rule of a shorter one",
        edits: &[Edit {
            path: PREFIX_TREE,
            text: "found = node.number.or(found);",
            replacement: "found = node.number;",
        }],
    },
];
