use reducer_core::{Aggregated, aggregate};

struct Users {
    users: Aggregated<u64, u64>,
}

impl Users {
    #[aggregate(in = self.users)]
    async fn user(&mut self, ids: Vec<u64>) -> Vec<u64> {
        ids
    }
}

fn main() {}
