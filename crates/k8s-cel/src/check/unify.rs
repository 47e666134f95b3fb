//! [`Bindings`]: what open types turn out to be (upstream: cel-go checker/types.go, mapping.go).

use std::sync::Arc;

use crate::declarations::Overload;
use crate::types::Type;

/// Types with more parts than this count as dynamic: no expression may make the checker work without bound.
const MAX_WEIGHT: usize = 256;

/// Open types, by number, and what they stand for.
#[derive(Debug, Default)]
pub(super) struct Bindings {
    bound: Vec<Option<Type>>,
    /// What was bound, and to what before: so that an overload that fits halfway leaves nothing behind.
    trail: Vec<(u32, Option<Type>)>,
}

impl Bindings {
    /// A new open type.
    pub(super) fn fresh(&mut self) -> Type {
        self.bound.push(None);
        Type::Param(u32::try_from(self.bound.len() - 1).unwrap_or(u32::MAX))
    }

    /// The type, with an open one on the outside replaced by what it stands for.
    pub(super) fn resolve(&self, ty: &Type) -> Type {
        let mut ty = ty;
        while let Type::Param(number) = ty
            && let Some(Some(bound)) = self.bound.get(*number as usize)
        {
            ty = bound;
        }
        ty.clone()
    }

    fn bind(&mut self, number: u32, ty: Type) {
        if let Some(slot) = self.bound.get_mut(number as usize) {
            let before = slot.replace(ty);
            self.trail.push((number, before));
        }
    }

    fn undo(&mut self, mark: usize) {
        while self.trail.len() > mark
            && let Some((number, before)) = self.trail.pop()
        {
            self.bound[number as usize] = before;
        }
    }

    /// The overload's result for such arguments; `None` where it does not take them.
    pub(super) fn apply(&mut self, overload: &Overload, is_member: bool, args: &[Type]) -> Option<Type> {
        if overload.member != is_member || overload.args.len() != args.len() {
            return None;
        }
        let mark = self.trail.len();
        let open: Vec<Type> = (0..overload.params).map(|_| self.fresh()).collect();
        for (wanted, given) in overload.args.iter().zip(args) {
            let wanted = instantiate(wanted, &open);
            if !self.assign(given, &wanted) {
                self.undo(mark);
                self.bound.truncate(self.bound.len() - open.len());
                return None;
            }
        }
        Some(instantiate(&overload.result, &open))
    }

    /// Whether a value of type `from` may stand where `to` is wanted; binds what is open.
    pub(super) fn assign(&mut self, from: &Type, to: &Type) -> bool {
        let mark = self.trail.len();
        let fits = self.try_assign(from, to);
        if !fits {
            self.undo(mark);
        }
        fits
    }

    fn try_assign(&mut self, from: &Type, to: &Type) -> bool {
        if let (Type::Param(left), Type::Param(right)) = (from, to)
            && left == right
        {
            return true;
        }
        let (given, wanted) = (self.resolve(from), self.resolve(to));
        match (&given, &wanted) {
            (Type::Param(left), Type::Param(right)) if left == right => true,
            (_, Type::Param(number)) if !self.mentions(&given, *number) => {
                self.bind(*number, given);
                true
            }
            (Type::Param(number), _) if !self.mentions(&wanted, *number) => {
                self.bind(*number, wanted);
                true
            }
            (Type::Dyn, _) | (_, Type::Dyn) | (Type::Type(_), Type::Type(_)) => true,
            (Type::Null, Type::Null) => true,
            (Type::Null, other) => other.is_nullable(),
            (other, Type::Null) if other.is_nullable() => {
                if let Type::Param(number) = to {
                    self.bind(*number, given.clone());
                }
                true
            }
            (Type::List(left), Type::List(right)) | (Type::Optional(left), Type::Optional(right)) => {
                Arc::ptr_eq(left, right) || self.try_assign(left, right)
            }
            (Type::Map(key, value), Type::Map(other_key, other_value)) => {
                self.try_assign(key, other_key) && self.try_assign(value, other_value)
            }
            (left, right) => left == right,
        }
    }

    fn mentions(&self, ty: &Type, number: u32) -> bool {
        match self.resolve(ty) {
            Type::Param(other) => other == number,
            Type::List(inner) | Type::Optional(inner) | Type::Type(inner) => self.mentions(&inner, number),
            Type::Map(key, value) => self.mentions(&key, number) || self.mentions(&value, number),
            _ => false,
        }
    }

    /// Whether two types are the same.
    pub(super) fn same(&self, left: &Type, right: &Type) -> bool {
        match (self.resolve(left), self.resolve(right)) {
            (Type::List(left), Type::List(right))
            | (Type::Optional(left), Type::Optional(right))
            | (Type::Type(left), Type::Type(right)) => self.same(&left, &right),
            (Type::Map(key, value), Type::Map(other_key, other_value)) => {
                self.same(&key, &other_key) && self.same(&value, &other_value)
            }
            (left, right) => left == right,
        }
    }

    /// The type without anything open in it: what stayed open is dynamic.
    pub(super) fn finish(&self, ty: &Type) -> Type {
        match self.resolve(ty) {
            Type::Param(_) => Type::Dyn,
            Type::List(item) => Type::list(self.finish(&item)),
            Type::Optional(value) => Type::optional(self.finish(&value)),
            Type::Type(inner) => Type::Type(Arc::new(self.finish(&inner))),
            Type::Map(key, value) => Type::map(self.finish(&key), self.finish(&value)),
            other => other,
        }
    }

    /// The type in messages.
    pub(super) fn show(&self, ty: &Type) -> String {
        self.finish(ty).to_string()
    }

    /// The type, or the dynamic one where it has too many parts.
    pub(super) fn bounded(&self, ty: Type) -> Type {
        let mut left = MAX_WEIGHT;
        if self.weigh(&ty, &mut left) { ty } else { Type::Dyn }
    }

    fn weigh(&self, ty: &Type, left: &mut usize) -> bool {
        let Some(fewer) = left.checked_sub(1) else { return false };
        *left = fewer;
        match self.resolve(ty) {
            Type::List(inner) | Type::Optional(inner) | Type::Type(inner) => self.weigh(&inner, left),
            Type::Map(key, value) => self.weigh(&key, left) && self.weigh(&value, left),
            _ => true,
        }
    }
}

/// A declared type with its open types numbered for one call.
fn instantiate(ty: &Type, open: &[Type]) -> Type {
    match ty {
        Type::Param(number) => open.get(*number as usize).cloned().unwrap_or(Type::Dyn),
        Type::List(item) => Type::list(instantiate(item, open)),
        Type::Optional(value) => Type::optional(instantiate(value, open)),
        Type::Type(inner) => Type::Type(Arc::new(instantiate(inner, open))),
        Type::Map(key, value) => Type::map(instantiate(key, open), instantiate(value, open)),
        other => other.clone(),
    }
}
