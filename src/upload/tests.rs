//! Dialogues with the uploader.
