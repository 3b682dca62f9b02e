//! Dialogues, and properties against a model disk.

mod bounds;
mod model;
mod power;
mod script;
