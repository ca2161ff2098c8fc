use reducer_core::reduceable;

#[allow(non_camel_case_types)]
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct char(String);

#[reduceable]
async fn f(letter: char, name: &str) -> usize {
    letter.0.len() + name.len()
}

fn main() {}
