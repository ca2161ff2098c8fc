#![deny(unused)]

mod m {
    #[reducer_core::reduceable]
    async fn dead(unused: u8, mut id: u8, (a, b): (u8, u8)) -> u8 {
        a
    }

    pub struct S;

    impl S {
        #[reducer_core::reduceable(skip(self))]
        async fn dead_method(self: std::sync::Arc<Self>) -> u8 {
            let local = 1;
            1
        }
    }
}

fn main() {
    let _ = m::S;
}
