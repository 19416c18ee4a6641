//! The clock of the machine jumps by ten years, and back, while the receiver runs.
