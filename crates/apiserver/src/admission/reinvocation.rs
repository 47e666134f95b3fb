//! [`Reinvocation`]: whether the mutating plugins are asked once more, because one of them changed the object after
//! another had seen it (upstream: admission/reinvocation.go, plugin/webhook/mutating/reinvocationcontext.go).

use std::any::Any;

/// What mutating plugins remember between the two rounds of one request.
#[derive(Default)]
pub struct Reinvocation {
    again: bool,
    asked: bool,
    memories: Vec<(&'static str, Box<dyn Any + Send + Sync>)>,
}

impl Reinvocation {
    /// Whether this is the second round.
    pub fn is_again(&self) -> bool {
        self.again
    }

    /// Asks for a second round; there is no third.
    pub fn ask(&mut self) {
        self.asked = true;
    }

    /// Begins the second round if it was asked for.
    pub fn begin_again(&mut self) -> bool {
        self.again = self.asked && !self.again;
        self.again
    }

    /// What a plugin remembers, made anew where it does not yet.
    pub fn memory<T: Any + Default + Send + Sync>(&mut self, plugin: &'static str) -> &mut T {
        let known = |(name, value): &(&'static str, Box<dyn Any + Send + Sync>)| *name == plugin && value.is::<T>();
        let at = self.memories.iter().position(known).unwrap_or_else(|| {
            self.memories.push((plugin, Box::new(T::default())));
            self.memories.len() - 1
        });
        self.memories[at].1.downcast_mut::<T>().expect("it was looked for, or made, as this type")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_two_rounds_at_most() {
        let mut context = Reinvocation::default();
        assert!(!context.begin_again(), "nobody asked");
        context.ask();
        assert!(context.begin_again() && context.is_again());
        assert!(!context.begin_again());
        context.memory::<Vec<u8>>("a").push(1);
        context.memory::<Vec<u8>>("a").push(2);
        assert_eq!(*context.memory::<Vec<u8>>("a"), [1, 2]);
        assert!(context.memory::<Vec<u8>>("b").is_empty());
    }
}
