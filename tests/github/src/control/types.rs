//! What goes over the control API, for the server and for the client.

pub use super::breakage::*;
pub use super::inputs::*;
pub use super::outputs::*;
