//! CEL, the Common Expression Language, as Kubernetes speaks it: rules of custom resources, admission policies, match
//! conditions.
//!
//! ```text
//! Environment::compile(source) > Program::evaluate(variables, budget) > Value
//!      parse > check > cost            eval > library
//!
//! Rules::compile(schema) > Rules::validate(path, object, old, budget) > field errors
//! ```
//!
//! It never knows who asks: requests, policies and custom resources are the API server's. Values only: no I/O, no
//! clock. Expressions are written by users, so nothing an expression or an object holds may panic, and every step is
//! counted: see [`budget`]. Start reading at [`environment`] and [`rules`].

mod ast;
pub mod budget;
mod check;
mod cost;
mod declarations;
pub mod devices;
pub mod environment;
pub mod error;
pub mod escaping;
mod eval;
mod library;
mod parse;
pub mod rules;
mod schema;
mod stack;
pub mod types;
pub mod value;

pub use budget::{Budget, Meter};
pub use environment::{Environment, Program};
pub use error::{CompileError, EvalError};
pub use eval::Variables;
pub use library::authorizer::{Authorizer, Check, Question, Verdict};
pub use rules::{Findings, Rules};
pub use types::{Opaque, Type};
pub use value::{Fields, Key, List, Map, Text, Value};
