//! Several receivers on one PostgreSQL: any of them may take what comes, and together they are one.

mod server;
