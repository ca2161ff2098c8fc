use reducer_core::aggregate;

#[aggregate]
async fn length(words: Vec<&str>) -> Vec<usize> {
    words.iter().map(|word| word.len()).collect()
}

fn main() {}
