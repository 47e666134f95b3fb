//! What calls cost at worst, and how large their results become.

use super::{Coster, LIST, Origin, REGEX, Range, STRUCT, TRAVERSAL};
use crate::ast::{Call, Expr, Literal, Node};
use crate::declarations::Overload;
use crate::types::{Opaque, Type};

/// What a call costs, its arguments included, and the size of its result.
pub(super) struct Estimate {
    pub(super) cost: Range,
    pub(super) size: Option<Range>,
}

/// The longest pattern behind a named format (upstream: `MaxNameFormatRegexSize`).
const FORMAT_REGEX: f64 = 128.0;

/// The longest text of a number, a bool or a time.
const SCALAR_TEXT: u64 = 40;

const ONE: Range = Range::exactly(1);

/// An estimate of a call whose result has no size of interest.
fn plain(cost: Range) -> Estimate {
    Estimate { cost, size: None }
}

fn sized(cost: Range, size: Range) -> Estimate {
    Estimate { cost, size: Some(size) }
}

impl<'c> Coster<'c> {
    pub(super) fn overload(
        &mut self,
        expr: &'c Expr,
        call: &'c Call,
        overload: &Overload,
        arg_costs: &[Range],
    ) -> Estimate {
        if let Some(whole) = self.of_logic(expr, call, arg_costs) {
            return whole;
        }
        let own = match self.of_lists(call).or_else(|| self.of_library(call, overload)) {
            Some(own) => own,
            None => self.of_language(expr, call, overload),
        };
        let cost = arg_costs.iter().fold(own.cost, |sum, cost| sum.add(*cost));
        Estimate { cost, size: own.size }
    }

    fn arg_sizes(&self, call: &Call) -> (Range, Range) {
        let size = |index: usize| call.args.get(index).map_or(Range::UNKNOWN, |arg| self.size_or_unknown(arg));
        (size(0), size(1))
    }

    /// Operators that need not evaluate all their arguments.
    fn of_logic(&mut self, expr: &Expr, call: &Call, costs: &[Range]) -> Option<Estimate> {
        match (&*call.function, costs) {
            ("_&&_" | "_||_", [left, right]) => Some(plain(Range { min: left.min, max: left.add(*right).max })),
            ("_?_:_", [condition, yes, no]) => {
                let [_, if_true, if_false] = &call.args[..] else { return None };
                let size = self.size_or_unknown(if_true).union(self.size_or_unknown(if_false));
                if let (Some(left), Some(right)) = (self.entries_of(if_true), self.entries_of(if_false)) {
                    self.entries.insert(expr.id, left.union(right));
                }
                Some(sized(condition.add(yes.union(*no)), size))
            }
            _ => None,
        }
    }

    /// The functions of the lists and sets extensions.
    fn of_lists(&self, call: &Call) -> Option<Estimate> {
        let (first, second) = self.arg_sizes(call);
        let made = |factor: f64, size: Range| sized(size.scale(factor).add(ONE).add(Range::exactly(LIST)), size);
        let number = |index: usize, otherwise: u64| match call.args.get(index).map(|arg| &arg.node) {
            Some(Node::Literal(Literal::Int(value))) => u64::try_from(*value).unwrap_or(otherwise),
            _ => otherwise,
        };
        let sorted = |keys: &Expr| {
            let is_text = matches!(self.ty(keys), Type::List(item) if matches!(**item, Type::String | Type::Bytes));
            let size = self.size_or_unknown(keys);
            made(if is_text { 2.0 + TRAVERSAL } else { 2.0 }, size.times(size))
        };
        Some(match (&*call.function, call.target.as_deref()) {
            ("slice", Some(target)) => {
                let end = number(1, self.size_or_unknown(target).max);
                made(1.0, Range::exactly(end.saturating_sub(number(0, 0))))
            }
            ("flatten", Some(target)) => {
                let depth = if call.args.is_empty() { 1 } else { number(0, u64::MAX) };
                made(depth as f64, self.size_or_unknown(target))
            }
            ("reverse", Some(target)) => made(1.0, self.size_or_unknown(target)),
            ("distinct", Some(target)) => {
                let size = self.size_or_unknown(target);
                made(2.0, size.times(size))
            }
            ("sort", Some(target)) => sorted(target),
            ("@sortByAssociatedKeys", Some(_)) => sorted(call.args.first()?),
            ("lists.range", None) => made(1.0, Range::exactly(number(0, u64::MAX))),
            ("sets.contains" | "sets.intersects", None) => plain(first.times(second).add(ONE)),
            ("sets.equivalent", None) => plain(first.times(second).scale(2.0).add(ONE)),
            _ => return None,
        })
    }

    /// Kubernetes' own functions.
    fn of_library(&self, call: &Call, overload: &Overload) -> Option<Estimate> {
        let (first, second) = self.arg_sizes(call);
        let target = call.target.as_deref();
        let receiver = target.map(|target| self.size_or_unknown(target));
        Some(match (&*call.function, receiver) {
            ("check", _) => plain(Range::exactly(350_000)),
            (function, _) if is_accessor(function) => plain(ONE),
            ("fieldSelector" | "labelSelector", _) => plain(selector(first)),
            ("isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" | "includes", Some(size)) => {
                plain(self.traversal(call, target?, size))
            }
            ("url" | "jsonpatch.escapeKey", None) => sized(first.scale(TRAVERSAL), first),
            ("lowerAscii" | "upperAscii" | "substring" | "trim", Some(size)) => sized(size.scale(TRAVERSAL), size),
            ("replace", Some(size)) => sized(size.scale(2.0 * TRAVERSAL), replaced(size, first, second)),
            ("split", Some(size)) => {
                let most = match call.args.get(1).map(|arg| &arg.node) {
                    Some(Node::Literal(Literal::Int(most))) => u64::try_from(*most).unwrap_or(u64::MAX),
                    _ => size.max,
                };
                sized(size.scale(2.0 * TRAVERSAL), Range { min: 0, max: most })
            }
            ("join", Some(size)) => {
                let joined = self.joined(call, target?, size);
                sized(joined.scale(TRAVERSAL), joined)
            }
            ("find" | "findAll", Some(size)) => {
                let cost = size.add(ONE).scale(TRAVERSAL).times(first.scale(REGEX));
                sized(cost, Range { min: 0, max: size.max })
            }
            ("ip", Some(_)) => plain(ONE),
            ("cidr" | "isIP" | "isCIDR" | "ip" | "quantity" | "isQuantity" | "semver" | "isSemver", None) => {
                plain(first.scale(TRAVERSAL))
            }
            ("ip.isCanonical", None) => plain(first.scale(2.0 * TRAVERSAL)),
            ("containsIP" | "containsCIDR", Some(_)) => plain(contains_address(call, overload, first)),
            ("validate", Some(_)) => plain(first.scale(TRAVERSAL).scale(FORMAT_REGEX * REGEX)),
            ("_==_", None) => return self.opaque_equality(call),
            _ => return None,
        })
    }

    /// Looking at every item once; of texts at every character as well.
    fn traversal(&self, call: &Call, target: &Expr, size: Range) -> Range {
        match self.ty(target) {
            Type::List(item) if matches!(**item, Type::String | Type::Bytes) => {
                size.times(ONE.add(self.item_size(target).scale(TRAVERSAL)))
            }
            Type::List(_) => size,
            _ if &*call.function == "includes" => size,
            _ => size.scale(TRAVERSAL),
        }
    }

    /// The size of a list's items.
    fn item_size(&self, list: &Expr) -> Range {
        match self.origin(list) {
            Some(Origin::Schema(decl)) => {
                decl.elements().map_or(Range::UNKNOWN, |items| Range { min: 0, max: items.max_elements })
            }
            _ => Range::UNKNOWN,
        }
    }

    fn joined(&self, call: &Call, target: &Expr, items: Range) -> Range {
        let text = match self.ty(target) {
            Type::List(_) => items.times(self.item_size(target)),
            _ => Range::default(),
        };
        let Some(separator) = call.args.first() else { return text };
        let gaps = Range { min: items.min.saturating_sub(1), max: items.max.saturating_sub(1) };
        text.add(self.size_or_unknown(separator).times(gaps))
    }

    fn opaque_equality(&self, call: &Call) -> Option<Estimate> {
        let [left, right] = &call.args[..] else { return None };
        let (Type::Opaque(one), Type::Opaque(other)) = (self.ty(left), self.ty(right)) else { return None };
        if one != other {
            return None;
        }
        Some(plain(match one {
            Opaque::Format => Range { min: 1, max: 64 }.scale(TRAVERSAL),
            Opaque::Url => self.size(right).map_or(ONE, |size| Range { min: 1, max: size.max }).scale(TRAVERSAL),
            _ => ONE,
        }))
    }

    /// The language's own functions and operators.
    fn of_language(&mut self, expr: &Expr, call: &Call, overload: &Overload) -> Estimate {
        let (first, second) = self.arg_sizes(call);
        let receiver = call.target.as_deref().map(|target| self.size_or_unknown(target));
        let takes = |ty: &Type| overload.args.first() == Some(ty);
        match (&*call.function, receiver) {
            ("format", Some(size)) => plain(size.scale(TRAVERSAL)),
            ("bytes", None) if takes(&Type::String) => {
                sized(first.scale(TRAVERSAL), Range { min: first.min, max: first.max.saturating_mul(4) })
            }
            ("string", None) if takes(&Type::Bytes) => {
                sized(first.scale(TRAVERSAL), Range { min: first.min / 4, max: first.max })
            }
            // Upstream knows no size here, and hence refuses to concatenate what its documentation does.
            ("string", None) if overload.args.first().is_some_and(Type::is_scalar) => {
                sized(ONE, Range { min: 1, max: SCALAR_TEXT })
            }
            ("strings.quote", None) => {
                let max = first.max.saturating_mul(2).saturating_add(2);
                sized(first.scale(TRAVERSAL), Range { min: first.min.saturating_add(2), max })
            }
            ("startsWith" | "endsWith", Some(_)) => plain(first.scale(TRAVERSAL)),
            ("@in", None) if matches!(overload.args.get(1), Some(Type::List(_))) => plain(second),
            ("matches", Some(size)) => plain(size.add(ONE).scale(TRAVERSAL).times(first.scale(REGEX))),
            ("contains", Some(size)) => plain(size.scale(TRAVERSAL).times(first.scale(TRAVERSAL))),
            ("_+_", None) if matches!(overload.args.first(), Some(Type::String | Type::Bytes | Type::List(_))) => {
                self.concatenation(expr, call, overload)
            }
            ("_<_" | "_<=_" | "_>_" | "_>=_", None) if takes(&Type::String) || takes(&Type::Bytes) => {
                plain(comparison(first, second))
            }
            ("_==_" | "_!=_", None) => plain(comparison(first, second)),
            _ => plain(ONE),
        }
    }

    fn concatenation(&mut self, expr: &Expr, call: &Call, overload: &Overload) -> Estimate {
        let (left, right) = self.arg_sizes(call);
        let size = left.add(right);
        if let [one, other] = &call.args[..]
            && let (Some(one), Some(other)) = (self.entries_of(one), self.entries_of(other))
        {
            self.entries.insert(expr.id, one.union(other));
        }
        let is_list = matches!(overload.args.first(), Some(Type::List(_)));
        sized(if is_list { ONE } else { size.scale(TRAVERSAL) }, size)
    }
}

/// Functions that look at one thing.
pub(crate) fn is_accessor(function: &str) -> bool {
    matches!(
        function,
        "serviceAccount"
            | "path"
            | "group"
            | "resource"
            | "subresource"
            | "namespace"
            | "name"
            | "allowed"
            | "reason"
            | "error"
            | "errored"
            | "masked"
            | "prefixLength"
            | "family"
            | "isUnspecified"
            | "isLoopback"
            | "isLinkLocalMulticast"
            | "isLinkLocalUnicast"
            | "isGlobalUnicast"
            | "format.named"
            | "sign"
            | "asInteger"
            | "isInteger"
            | "asApproximateFloat"
            | "isGreaterThan"
            | "isLessThan"
            | "compareTo"
            | "add"
            | "sub"
            | "major"
            | "minor"
            | "patch"
            | "getScheme"
            | "getHostname"
            | "getHost"
            | "getPort"
            | "getEscapedPath"
            | "getQuery"
    )
}

fn comparison(left: Range, right: Range) -> Range {
    let most = left.max.min(right.max);
    Range { min: u64::from(most > 0), max: most }.scale(TRAVERSAL)
}

/// Parsing a selector: half its characters may be requirements.
pub(crate) fn selector(length: Range) -> Range {
    let requirements = length.scale(0.5).scale((LIST + STRUCT) as f64);
    Range::exactly(LIST).add(length.scale(TRAVERSAL)).add(requirements)
}

fn contains_address(call: &Call, overload: &Overload, arg: Range) -> Range {
    let address = Range { min: 4, max: 16 };
    let mut cost = address.add(address).scale(TRAVERSAL);
    if &*call.function == "containsCIDR" {
        cost = cost.add(address.scale(TRAVERSAL)).add(ONE);
    }
    if overload.args.get(1) == Some(&Type::String) {
        cost = cost.add(arg.scale(TRAVERSAL));
    }
    cost
}

/// How long a text can be and must be after a replacement.
fn replaced(size: Range, old: Range, new: Range) -> Range {
    let most = if old.min == 0 {
        size.max.saturating_add(1).saturating_mul(new.max).saturating_add(size.max)
    } else if new.max <= old.min {
        size.max
    } else {
        ((size.max as f64 / old.min as f64).ceil() as u64).saturating_mul(new.max)
    };
    let least = if old.max == 0 {
        size.min.saturating_add(1).saturating_mul(new.min).saturating_add(size.min)
    } else if old.max <= new.min {
        size.min
    } else {
        ((size.min as f64 / old.max as f64).ceil() as u64).saturating_mul(new.min)
    };
    Range { min: least, max: most }
}
