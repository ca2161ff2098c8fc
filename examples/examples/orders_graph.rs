//! A nested load, written one row at a time: orders, the user of each, the avatar of each user. That is the N+1
//! pattern, a hundred orders and 201 queries; under `#[aggregate]` the same code is three queries.
//!
//! ```text
//! cargo run --example orders_graph
//! ```

use std::sync::Mutex;

use futures_util::future::join_all;
use reducer_core::{SharedError, aggregate, reduceable};
use rusqlite::{Connection, params_from_iter};

const ORDERS: u64 = 100;
const USERS: u64 = 20;

static DB: Mutex<Option<Connection>> = Mutex::new(None);
static QUERIES: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[derive(Clone, Debug, PartialEq)]
struct Order {
    id: u64,
    user: u64,
}

#[derive(Clone, Debug, PartialEq)]
struct User {
    name: String,
    avatar: u64,
}

// `id` is many of them here, and one to the caller: `async fn order(id: u64) -> Result<Order, AggregateError<rusqlite::Error>>`.
#[aggregate(leeway = "2ms", max_count = 500)]
async fn order(id: Vec<u64>) -> Result<Vec<Order>, rusqlite::Error> {
    rows("orders", &id, |id, user| Order { id, user: user.parse().expect("a user's number") })
}

// Many orders are of one user: `#[reduceable]` over it, equal calls share one place in the batch.
#[reduceable]
#[aggregate(leeway = "2ms", max_count = 500)]
async fn user(id: Vec<u64>) -> Result<Vec<User>, rusqlite::Error> {
    rows("users", &id, |id, name| User { name: name.to_owned(), avatar: id * 10 })
}

#[reduceable]
#[aggregate(leeway = "2ms", max_count = 500)]
async fn avatar(id: Vec<u64>) -> Result<Vec<String>, rusqlite::Error> {
    rows("avatars", &id, |_, url| url.to_owned())
}

/// One line of the page: three loads, each of which needs the one before.
async fn line(id: u64) -> Result<String, SharedError> {
    let order = order(id).await?;
    let user = user(order.user).await?;
    let avatar = avatar(user.avatar).await?;
    Ok(format!("order {} of {} {avatar}", order.id, user.name))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), SharedError> {
    let db = Connection::open_in_memory()?;
    db.execute_batch(
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, value TEXT NOT NULL);
         CREATE TABLE users (id INTEGER PRIMARY KEY, value TEXT NOT NULL);
         CREATE TABLE avatars (id INTEGER PRIMARY KEY, value TEXT NOT NULL);",
    )?;
    for id in 0..ORDERS {
        db.execute(
            "INSERT INTO orders VALUES (?1, ?2)",
            (id as i64, (id * 7 % USERS).to_string()),
        )?;
    }
    for id in 0..USERS {
        db.execute("INSERT INTO users VALUES (?1, ?2)", (id as i64, format!("user {id}")))?;
        db.execute("INSERT INTO avatars VALUES (?1, ?2)", (id as i64 * 10, format!("{id}.png")))?;
    }
    *DB.lock().expect("nobody panicked yet") = Some(db);

    let page = join_all((0..ORDERS).map(line)).await;
    for (id, line) in (0..).zip(page) {
        let user = id * 7 % USERS;
        assert_eq!(line?, format!("order {id} of user {user} {user}.png"));
    }
    let queries = std::mem::take(&mut *QUERIES.lock().expect("no query panics"));
    queries.iter().for_each(|query| println!("{query}"));
    assert_eq!(queries, ["100 of orders", "20 of users", "20 of avatars"]);

    // An order that is not there fails the batch that asks for it, and no other.
    let (missing, fine) = (line(ORDERS).await, line(1).await);
    println!("{}", missing.expect_err("there is no such order"));
    assert_eq!(fine?, "order 1 of user 7 7.png");
    Ok(())
}

/// One query for all of `ids`; their rows in the same order.
fn rows<R>(
    table: &str,
    ids: &[u64],
    row: impl Fn(u64, &str) -> R,
) -> Result<Vec<R>, rusqlite::Error> {
    QUERIES.lock().expect("no query panics").push(format!("{} of {table}", ids.len()));
    let db = DB.lock().expect("no query panics");
    let db = db.as_ref().expect("it was opened first");
    let marks = vec!["?"; ids.len()].join(", ");
    let mut query = db.prepare(&format!("SELECT id, value FROM {table} WHERE id IN ({marks})"))?;
    let found = query.query_map(params_from_iter(ids.iter().map(|id| *id as i64)), |row| {
        Ok((row.get::<_, i64>(0)? as u64, row.get::<_, String>(1)?))
    })?;
    let found = found.collect::<Result<std::collections::HashMap<_, _>, _>>()?;
    ids.iter()
        .map(|id| match found.get(id) {
            Some(value) => Ok(row(*id, value)),
            None => Err(rusqlite::Error::QueryReturnedNoRows),
        })
        .collect()
}
