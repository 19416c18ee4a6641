//! EvoLink as attacker: every misbehaviour that the simulator knows, at random and all at once.
