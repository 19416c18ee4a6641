//! A simulation (RELIABILITY R6): the real domain and recorder under a seeded scheduler, beside a plain model.
