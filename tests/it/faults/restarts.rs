//! Restarts every few seconds under callbacks with EvoLink's retry times: what was sent is what was delivered.
