use reducer_core::reduceable;

#[reduceable(key = {
    let name = name.trim();
    (id, name)
})]
async fn f(id: u8, name: String) -> String {
    let _ = id;
    name
}

fn main() {}
