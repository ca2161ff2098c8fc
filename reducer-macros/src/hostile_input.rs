//! Any tokens at all, as options and as item, are an error or an expansion, and never a panic.
//!
//! The functions under the attributes in the workspace's tests, with tokens deleted, doubled, swapped, replaced and
//! wrapped: close enough to valid code to get past the parser. `REDUCER_FUZZ_CASES` and `REDUCER_FUZZ_SEED` ask
//! for more of them, and others.

use std::fmt::Write;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::str::FromStr;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::quote;

use crate::{expand, fallback};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Attribute {
    Reduceable,
    Aggregate,
}

/// The options of an attribute, and what it is on.
#[derive(Clone, Debug)]
struct Case {
    attribute: Attribute,
    args: Vec<TokenTree>,
    item: Vec<TokenTree>,
}

/// splitmix64
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// For those who have the crate alone; and what the tests do not have.
const SEEDS: &str = r###"
    #[reduceable] async fn f() {}
    #[reduceable(key = (id, page), timeout = "2s", detached)]
    pub(crate) async fn page(client: &Client, id: u64, page: u32) -> Result<Page, SharedError> { go(client).await? }
    #[reduceable(skip(client, self), reducer = self.reducer, crate = ::other::path, meter = METER)]
    async fn fetch<'a, T: Clone, const N: usize>(self: &Arc<Self>, client: &'a [T; N], (a, b): (u8, f64)) -> T where T: Send { x }
    #[reduceable] unsafe extern "C" fn c(x: *const u8, ...) -> ! { loop {} }
    #[aggregate(leeway = "10ms", max_count = 100, max_concurrent = 4, max_waiting = 1)]
    async fn user(ids: Vec<u64>, #[group] table: Table) -> Result<HashMap<u64, User>, Error> { Ok(ids) }
    #[aggregate(in = self.users, leeway = Duration::from_millis(1), crate = a::b)]
    async fn slots(&self, slots: Vec<Slot<u64, String>>, #[group] _: u8) { }
"###;

/// Tokens that mean something somewhere.
const WORDS: &str = r###"
    self Self mut ref dyn impl async const unsafe extern fn where for 'a 'static r#type r#in _ crate super
    & && * ! ? : :: , ; = => -> .. ..= ... < > << >> | || # @ $ + - / % ^ ~
    0 0u8 1_000 0x0 18446744073709551616 340282366920938463463374607431768211456 1.5 0.0 1e400 'x' b'x'
    "" "2s" "0s" "1.5µs" "99999999999999999999h" "1.99999999999999999999999s" "ms" "\u{1F980}s" r#"2s"# b"2s" c"2s"
    () [] {} (self) (_) (key = 1) [group] [group()] [cfg(any())] [cfg_attr(x, cfg(y))] [aggregate] [reduceable]
    Vec<T> Option<&'static str> Slot<u64, u64> Result<(), E> Box<dyn Future> &mut T [u8; 0] (A,) fn(&u8)
    key skip reducer timeout detached meter leeway max_count max_concurrent max_waiting in dedupe
    key=() skip() timeout="1s" timeout=Duration::ZERO detached=false in=x leeway=y max_count=0
"###;

fn seeds() -> Vec<Case> {
    let mut texts = vec![SEEDS.to_owned()];
    for folder in ["../tests/ui", "../tests/tests"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut files: Vec<_> = files.map(|file| file.path()).collect();
        files.sort();
        let files = files.iter().filter(|file| file.extension().is_some_and(|end| end == "rs"));
        texts.extend(files.filter_map(|file| fs::read_to_string(file).ok()));
    }
    let mut cases = Vec::new();
    for text in texts {
        // A file that is no Rust at all is none of ours.
        if let Ok(tokens) = TokenStream::from_str(&text) {
            collect(tokens, &mut cases);
        }
    }
    cases
}

/// What is under our attributes in `tokens`, up to the body or the semicolon.
fn collect(tokens: TokenStream, cases: &mut Vec<Case>) {
    let tokens: Vec<_> = tokens.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        let TokenTree::Group(group) = token else { continue };
        let inner: Vec<_> = group.stream().into_iter().collect();
        let attribute = match inner.first().map(ToString::to_string).as_deref() {
            Some("reduceable") => Some(Attribute::Reduceable),
            Some("aggregate") => Some(Attribute::Aggregate),
            _ => None,
        };
        let is_attribute = at > 0 && tokens[at - 1].to_string() == "#";
        match attribute {
            Some(attribute) if is_attribute => {
                let args = match inner.get(1) {
                    Some(TokenTree::Group(args)) => args.stream().into_iter().collect(),
                    _ => Vec::new(),
                };
                let rest = &tokens[at + 1..];
                let is_end = |token: &TokenTree| match token {
                    TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
                    other => other.to_string() == ";",
                };
                let end = rest.iter().position(is_end).map_or(rest.len(), |end| end + 1);
                cases.push(Case { attribute, args, item: rest[..end].to_vec() });
            }
            _ => collect(group.stream(), cases),
        }
    }
}

/// Every token there is, groups whole and in parts.
fn pool(tokens: &[TokenTree], pool: &mut Vec<TokenTree>) {
    for token in tokens {
        if let TokenTree::Group(group) = token {
            self::pool(&group.stream().into_iter().collect::<Vec<_>>(), pool);
        }
        pool.push(token.clone());
    }
}

fn mutate(tokens: &mut Vec<TokenTree>, pool: &[TokenTree], dice: &mut Dice) {
    if tokens.is_empty() {
        tokens.push(dice.pick(pool).clone());
        return;
    }
    let at = dice.below(tokens.len());
    if let TokenTree::Group(group) = &tokens[at] {
        if dice.below(4) > 0 {
            let mut inner = group.stream().into_iter().collect();
            mutate(&mut inner, pool, dice);
            let inner = inner.into_iter().collect();
            tokens[at] = TokenTree::Group(Group::new(group.delimiter(), inner));
            return;
        }
    }
    match dice.below(7) {
        0 => drop(tokens.remove(at)),
        1 => tokens.insert(at, tokens[at].clone()),
        2 => {
            let other = dice.below(tokens.len());
            tokens.swap(at, other);
        }
        3 => tokens[at] = dice.pick(pool).clone(),
        4 => tokens.insert(at, dice.pick(pool).clone()),
        5 => {
            let delimiters =
                [Delimiter::None, Delimiter::Brace, Delimiter::Bracket, Delimiter::Parenthesis];
            let end = at + 1 + dice.below(tokens.len() - at);
            let inner = tokens.drain(at..end).collect();
            tokens.insert(at, TokenTree::Group(Group::new(*dice.pick(&delimiters), inner)));
        }
        _ => {
            if let TokenTree::Group(group) = tokens[at].clone() {
                tokens.splice(at..=at, group.stream());
            } else {
                tokens.truncate(at);
            }
        }
    }
}

/// What rustc would be given. An `Err` says what is wrong with it.
fn check(case: &Case) -> Result<bool, String> {
    let (args, item): (TokenStream, TokenStream) =
        (case.args.iter().cloned().collect(), case.item.iter().cloned().collect());
    let expanded = match case.attribute {
        Attribute::Reduceable => expand::reduceable(args, &item),
        Attribute::Aggregate => expand::aggregate(args, &item),
    };
    match expanded {
        Err(refusal) => {
            let error = refusal.to_compile_error();
            if !error.to_string().contains("compile_error") || !parses(&error) {
                return Err(format!("an error that is none: {error}"));
            }
            let given_back = match case.attribute {
                Attribute::Reduceable => fallback::give_back(&refusal, &item),
                Attribute::Aggregate => fallback::give_back_aggregate(&refusal, &item),
            };
            let whole = given_back.to_string();
            let is_whole = whole.starts_with(&error.to_string())
                && (case.attribute == Attribute::Aggregate || whole.ends_with(&item.to_string()));
            if is_whole { Ok(false) } else { Err(format!("not given back: {whole}")) }
        }
        // What is in the braces reaches rustc as it is, so its errors are rustc's.
        Ok(expansion) if parses(&item) && !parses(&expansion) => {
            Err(format!("no Rust: {expansion}"))
        }
        Ok(_) => Ok(true),
    }
}

/// As a function, or a method.
fn parses(tokens: &TokenStream) -> bool {
    syn::parse2::<syn::File>(tokens.clone()).is_ok()
        || syn::parse2::<syn::ItemImpl>(quote!(impl X { #tokens })).is_ok()
}

fn from_env(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(number) => number.parse().unwrap_or_else(|_| panic!("{name} is a number")),
        Err(_) => default,
    }
}

#[test]
fn any_tokens_are_an_error_or_an_expansion_and_never_a_panic() {
    let seeds = seeds();
    let mut words = Vec::new();
    pool(
        &TokenStream::from_str(WORDS).expect("tokens").into_iter().collect::<Vec<_>>(),
        &mut words,
    );
    for Case { args, item, .. } in &seeds {
        pool(args, &mut words);
        pool(item, &mut words);
    }
    let expands = |seed: &&Case| check(seed).unwrap_or_else(|why| panic!("{why}\n{seed:#?}"));
    let valid: Vec<_> = seeds.iter().filter(expands).cloned().collect();
    let (cases, seed) = (from_env("REDUCER_FUZZ_CASES", 20_000), from_env("REDUCER_FUZZ_SEED", 1));
    let mut expanded = 0;
    for number in 0..cases {
        let mut dice = Dice(seed.wrapping_mul(0x1_0000_0000).wrapping_add(number));
        let from = if dice.below(4) == 0 { &seeds } else { &valid };
        let mut case = dice.pick(from).clone();
        if dice.below(20) == 0 {
            case.item.clone_from(&dice.pick(&seeds).item);
        }
        for _ in 0..=dice.below(3) {
            let part = if dice.below(3) == 0 { &mut case.args } else { &mut case.item };
            mutate(part, &words, &mut dice);
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| check(&case)));
        let why = match outcome {
            Ok(Ok(is_expansion)) => {
                expanded += u64::from(is_expansion);
                continue;
            }
            Ok(Err(why)) => why,
            Err(_) => "a panic, see above".to_owned(),
        };
        let mut shown = String::new();
        for (name, part) in [("args", &case.args), ("item", &case.item)] {
            let part: TokenStream = part.iter().cloned().collect();
            writeln!(shown, "{name}: {part}").expect("a string takes it");
        }
        panic!("seed {seed}, case {number}, {:?}: {why}\n{shown}", case.attribute);
    }
    println!("seed {seed}: {expanded} of {cases} from {} seeds were expanded", seeds.len());
    assert!(expanded > cases / 20, "only {expanded} of {cases} got past the checks");
}
