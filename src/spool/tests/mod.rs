//! Dialogues, and properties against a model disk.

mod model;
mod power;
mod script;
