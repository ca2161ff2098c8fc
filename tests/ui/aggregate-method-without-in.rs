use reducer_core::aggregate;

#[derive(Clone)]
struct Users;

impl Users {
    #[aggregate(leeway = "10ms")]
    async fn user(&self, ids: Vec<u64>) -> Vec<u64> {
        ids
    }
}

fn main() {}
