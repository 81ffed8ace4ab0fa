//! Lists of the origin: pages, each of which shows its range as it is in one moment, and what else
//! happens between them.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use cache_core::{
    Error, ErrorKind, Key, ListPage, ListedObject, Listing, Observation, Result, Version,
};
use futures_util::{StreamExt as _, stream};

use super::{
    origin::{World, pause, tag_of},
    schedule::KEYS,
};
use crate::{
    history::{RequestId, Source},
    random::Random,
};

/// A list of a node, and what it has shown so far.
pub(super) struct List {
    world: Arc<World>,
    node: usize,
    /// The cache that lists, or whose node does.
    instance: u64,
    shown: Mutex<ListShown>,
}

#[derive(Default)]
struct ListShown {
    /// By the page that was yielded last.
    page: Vec<ListedKey>,
    /// The keys that are known when the list has ended.
    at_end: Vec<ListedKey>,
}

/// A key as a list shows it.
#[derive(Debug, Clone)]
pub(super) struct ListedKey {
    pub(super) key: &'static str,
    pub(super) value: Option<u64>,
    pub(super) tag: Option<String>,
    state: usize,
}

/// The pages of a list.
struct Pages {
    list: Arc<List>,
    random: Arc<Random>,
    /// The keys of the list that have not been in the range of a page, in its order.
    keys: VecDeque<&'static str>,
    is_ordered: bool,
    /// How many objects are on a page.
    page_len: usize,
    /// Pages are requested before they are polled for.
    is_ahead: bool,
    /// It says so.
    says_when: bool,
    /// Requests whose answers are known when the list has ended.
    open: Vec<RequestId>,
    ahead: Option<Page>,
    /// No other page comes.
    is_last: bool,
}

/// A page, and the requests that it answers.
struct Page {
    page: Result<Option<ListPage>>,
    answers: Vec<RequestId>,
    shows: Vec<ListedKey>,
}

impl List {
    /// The list of the keys that begin with `prefix` and come after `after`.
    pub(super) fn begin(
        world: &Arc<World>,
        (node, instance): (usize, u64),
        prefix: &str,
        after: Option<&str>,
    ) -> (Arc<Self>, Listing) {
        let random = world.stream(node, prefix, LISTS);
        let list =
            Arc::new(Self { world: Arc::clone(world), node, instance, shown: Mutex::default() });
        let mut keys: Vec<_> = KEYS.into_iter().filter(|key| key.starts_with(prefix)).collect();
        keys.sort_unstable();
        let is_ordered = random.below(3) > 0;
        if !is_ordered {
            keys.sort_by_key(|_| random.draw());
        }
        keys.retain(|key| after.is_none_or(|after| *key > after));
        let is_ahead = random.below(3) == 0;
        let pages = Pages {
            list: Arc::clone(&list),
            keys: keys.into(),
            is_ordered,
            page_len: 1 + random.index(3),
            is_ahead,
            says_when: !is_ahead && random.below(3) > 0,
            random,
            open: Vec::new(),
            ahead: None,
            is_last: false,
        };
        let pages = stream::unfold(Some(pages), Pages::next).boxed();
        (list, Listing::new(pages).ordered(is_ordered))
    }

    /// The cache has acted on the last page, and if so on the end of the list. Returns what is
    /// known by that.
    pub(super) fn heard(&self, is_end: bool) -> Vec<ListedKey> {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = std::mem::take(&mut shown.page);
        if is_end {
            known.append(&mut shown.at_end);
        }
        drop(shown);
        if self.world.is_current(self.node, self.instance) {
            for ListedKey { key, value, state, .. } in &known {
                let source = if value.is_some() { Source::List } else { Source::LeftOut };
                self.world.history().hear(self.node, key, source, *state, self.world.now());
            }
        }
        known
    }
}

impl Pages {
    async fn next(pages: Option<Self>) -> Option<(Result<ListPage>, Option<Self>)> {
        let mut pages = pages?;
        let list = Arc::clone(&pages.list);
        // A poll for the next page shows that the one before was acted on.
        list.heard(false);
        let page = match pages.ahead.take() {
            Some(page) => {
                pause(&pages.random).await;
                page
            }
            None if pages.is_last => pages.end(),
            None => pages.request().await,
        };
        if pages.is_ahead && !pages.is_last {
            pages.ahead = Some(pages.request().await);
        }
        let Page { page, answers, shows } = page;
        let (world, failure) = (&list.world, page.as_ref().err().map(Error::kind));
        for request in answers {
            world.history().answer(request, failure, world.now());
        }
        let mut shown = list.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = |key: &ListedKey| key.value.is_some() || pages.is_ordered;
        let (of_page, at_end): (Vec<_>, Vec<_>) = shows.into_iter().partition(is_known);
        match &page {
            Ok(Some(_)) => shown.page = of_page,
            _ => shown.at_end.extend(of_page),
        }
        shown.at_end.extend(at_end);
        drop(shown);
        match page {
            Ok(Some(page)) => Some((Ok(page), Some(pages))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    }

    /// Requests the next page.
    async fn request(&mut self) -> Page {
        let world = Arc::clone(&self.list.world);
        let node = self.list.node;
        let ask = |key: &&'static str| (*key, world.history().ask(node, key, world.now()));
        let mut asked: VecDeque<_> = self.keys.iter().map(ask).collect();
        pause(&self.random).await;
        if world.fails(&self.random) {
            self.is_last = true;
            let kind = self.random.pick(&[ErrorKind::Unavailable, ErrorKind::Timeout]);
            pause(&self.random).await;
            let answers = asked.into_iter().map(|(_, request)| request).collect();
            let page = Err(Error::new(kind, "the simulated list fails"));
            return Page { page, answers, shows: Vec::new() };
        }
        let (mut objects, mut shows, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        while objects.len() < self.page_len
            && let Some((key, request)) = asked.pop_front()
        {
            self.keys.pop_front();
            let (value, state) = world.current_state(key);
            let tag = value.and_then(|value| world.listed_tag(&self.random, key, value));
            if value.is_some() {
                let shown = Version::default().with_e_tag(tag.clone());
                let key = Key::parse(key).expect("a key of a schedule is one");
                objects.push(ListedObject::new(key, Observation::Version(shown)));
            }
            match value.is_some() || self.is_ordered {
                true => answers.push(request),
                false => self.open.push(request),
            }
            shows.push(ListedKey { key, value, tag, state });
        }
        let Some(last) = shows.iter().rposition(|shown| shown.value.is_some()) else {
            self.is_last = true;
            pause(&self.random).await;
            answers.append(&mut self.open);
            return Page { page: Ok(None), answers, shows };
        };
        // Either the store says that this page is the last one, or it gets one more request,
        // and an object may have come since.
        let behind = shows.split_off(last + 1);
        if asked.is_empty() && self.random.below(2) == 0 {
            self.is_last = true;
            let mut shown = self.list.shown.lock().unwrap_or_else(PoisonError::into_inner);
            shown.at_end.extend(behind);
        } else {
            behind.iter().rev().for_each(|shown| self.keys.push_front(shown.key));
        }
        pause(&self.random).await;
        let page = ListPage::new(objects).requested_when_polled(self.says_when);
        Page { page: Ok(Some(page)), answers, shows }
    }

    /// The end, after the last page.
    fn end(&mut self) -> Page {
        let answers = std::mem::take(&mut self.open);
        Page { page: Ok(None), answers, shows: Vec::new() }
    }
}

impl World {
    /// A tag for an object in a list, mostly the right one.
    fn listed_tag(&self, random: &Random, key: &str, value: u64) -> Option<String> {
        let tag = match self.is_odd(random).then(|| random.below(3)) {
            None => tag_of(value),
            Some(0) => return None,
            Some(1) => format!("W/{}", tag_of(value)),
            // As some stores' lists have them.
            Some(_) => tag_of(value).trim_matches('"').to_owned(),
        };
        self.history().tag(key, &tag, value);
        Some(tag)
    }
}

const LISTS: u64 = 200;
