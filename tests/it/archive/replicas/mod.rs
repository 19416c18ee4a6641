//! Several receivers on one PostgreSQL with one archive: each file is fetched by one of them, and
//! every one answers with it.

mod killed;
mod shared;
