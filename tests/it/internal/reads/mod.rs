//! Queries of an app: one task, lists, pages, histories, and how they are planned.

mod bound;
mod deadline;
mod history;
mod lists;
mod pages;
mod parameters;
mod plans;
mod relayed;
mod submitted;
mod tasks;
mod told;
mod whole_history;
