//! The grammar, by descent: operators by their rank, then members, then primaries.

use super::lexer::{self, Spanned, Token};
use super::{Builder, Fault, MAX_DEPTH, Parsed, macros};
use crate::ast::{Element, Entry, Expr, Id, Literal, Node, Select, Struct, StructField};
use crate::escaping::RESERVED;

const PRIMARY: &str = "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, \
                       BYTES, IDENTIFIER}";

/// Binary operators with their functions, weakest rank first; `&&` and `||` are apart.
const RANKS: [&[(&str, &str)]; 3] = [
    &[("==", "_==_"), ("!=", "_!=_"), ("<", "_<_"), ("<=", "_<=_"), (">", "_>_"), (">=", "_>=_"), ("in", "@in")],
    &[("+", "_+_"), ("-", "_-_")],
    &[("*", "_*_"), ("/", "_/_"), ("%", "_%_")],
];

/// Walks the words of one source.
pub(super) struct Parser<'s> {
    source: &'s str,
    current: Spanned,
    depth: u16,
    build: Builder,
}

impl<'s> Parser<'s> {
    pub(super) fn new(source: &'s str, binds: bool) -> Self {
        let current = Spanned { token: Token::End, start: 0, end: 0 };
        Self { source, current, depth: 0, build: Builder { next: 0, binds } }
    }

    /// The whole source as one expression.
    pub(super) fn whole(mut self) -> Parsed<(Expr, Id)> {
        self.advance()?;
        let expr = self.expression()?;
        if self.current.token != Token::End {
            let (at, shown) = (self.current.start, self.shown());
            return Err(Fault::new(at, format!("Syntax error: extraneous input '{shown}' expecting <EOF>")));
        }
        Ok((expr, self.build.next))
    }

    fn advance(&mut self) -> Parsed<()> {
        self.current = lexer::next(self.source, self.current.end)?;
        Ok(())
    }

    fn shown(&self) -> &str {
        if self.current.token == Token::End { "<EOF>" } else { &self.source[self.current.start..self.current.end] }
    }

    fn is(&self, symbol: &str) -> bool {
        matches!(self.current.token, Token::Symbol(current) if current == symbol)
    }

    fn take(&mut self, symbol: &str) -> Parsed<bool> {
        let found = self.is(symbol);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn expect(&mut self, symbol: &str) -> Parsed<()> {
        if self.take(symbol)? {
            return Ok(());
        }
        let (at, shown) = (self.current.start, self.shown());
        Err(Fault::new(at, format!("Syntax error: mismatched input '{shown}' expecting '{symbol}'")))
    }

    /// `a || b ? c : d`.
    fn expression(&mut self) -> Parsed<Expr> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let message = format!("expression recursion limit exceeded: {MAX_DEPTH}");
            return Err(Fault::new(self.current.start, message));
        }
        let condition = self.logical("||", "_||_")?;
        let at = self.current.start;
        let expr = if self.take("?")? {
            let yes = self.logical("||", "_||_")?;
            self.expect(":")?;
            let no = self.expression()?;
            self.build.call(at, "_?_:_", vec![condition, yes, no])?
        } else {
            condition
        };
        self.depth -= 1;
        Ok(expr)
    }

    /// A chain of `||`, or of `&&` within; balanced, so that a long chain is no deep tree.
    fn logical(&mut self, symbol: &str, function: &str) -> Parsed<Expr> {
        let mut terms = Vec::new();
        let mut operators = Vec::new();
        loop {
            terms.push(if symbol == "||" { self.logical("&&", "_&&_")? } else { self.binary(0)? });
            let at = self.current.start;
            if !self.take(symbol)? {
                return self.balance(function, &mut terms.into_iter(), &operators);
            }
            operators.push(at);
        }
    }

    fn balance(&mut self, function: &str, terms: &mut dyn Iterator<Item = Expr>, operators: &[usize]) -> Parsed<Expr> {
        let middle = operators.len() / 2;
        let Some(at) = operators.get(middle) else {
            return terms.next().ok_or_else(|| Fault::new(0, "a chain has a term more than operators"));
        };
        let left = self.balance(function, terms, &operators[..middle])?;
        let right = self.balance(function, terms, &operators[middle + 1..])?;
        self.build.call(*at, function, vec![left, right])
    }

    fn binary(&mut self, rank: usize) -> Parsed<Expr> {
        let Some(operators) = RANKS.get(rank) else { return self.unary() };
        let mut left = self.binary(rank + 1)?;
        loop {
            let symbol = match &self.current.token {
                Token::Symbol(symbol) => symbol,
                Token::In => "in",
                _ => return Ok(left),
            };
            let Some((_, function)) = operators.iter().find(|(operator, _)| *operator == symbol) else {
                return Ok(left);
            };
            let at = self.current.start;
            self.advance()?;
            let right = self.binary(rank + 1)?;
            left = self.build.call(at, function, vec![left, right])?;
        }
    }

    /// `!a`, `--a`: pairs cancel out.
    fn unary(&mut self) -> Parsed<Expr> {
        let at = self.current.start;
        for (symbol, function) in [("!", "!_"), ("-", "-_")] {
            if !self.is(symbol) {
                continue;
            }
            let mut is_odd = false;
            while self.take(symbol)? {
                is_odd = !is_odd;
            }
            if symbol == "-"
                && is_odd
                && matches!(self.current.token, Token::Literal(Literal::Int(_) | Literal::Double(_)))
            {
                let number = self.negative_number(at)?;
                return self.members(number);
            }
            let operand = self.primary()?;
            let operand = self.members(operand)?;
            return if is_odd { self.build.call(at, function, vec![operand]) } else { Ok(operand) };
        }
        let primary = self.primary()?;
        self.members(primary)
    }

    fn negative_number(&mut self, at: usize) -> Parsed<Expr> {
        let negated = match &self.current.token {
            Token::Literal(Literal::Int(value)) => Literal::Int(value.wrapping_neg()),
            Token::Literal(Literal::Double(value)) => Literal::Double(-value),
            _ => return Err(Fault::new(at, "invalid number literal")),
        };
        self.advance()?;
        self.build.literal(at, negated)
    }

    /// `.field`, `.?field`, `.method()`, `[index]`, `[?index]`, `{fields}`.
    fn members(&mut self, mut expr: Expr) -> Parsed<Expr> {
        loop {
            let at = self.current.start;
            if self.take(".")? {
                let optional = self.take("?")?;
                let name = self.name()?;
                let is_call = !optional && self.is("(");
                expr = if is_call {
                    // Where upstream says a call stands.
                    let open = self.current.start;
                    self.advance()?;
                    let args = self.arguments()?;
                    macros::expand(&mut self.build, open, &name, Some(expr), args)?
                } else if optional {
                    let field = self.build.literal(at, Literal::String(name))?;
                    self.build.call(at, "_?._", vec![expr, field])?
                } else {
                    self.build.make(at, Node::Select(Select { operand: Box::new(expr), field: name, tests: false }))?
                };
            } else if self.take("[")? {
                let function = if self.take("?")? { "_[?_]" } else { "_[_]" };
                let index = self.expression()?;
                self.expect("]")?;
                expr = self.build.call(at, function, vec![expr, index])?;
            } else if self.is("{")
                && let Some(name) = qualified_name(&expr)
            {
                self.advance()?;
                expr = self.message(at, name)?;
            } else {
                return Ok(expr);
            }
        }
    }

    fn name(&mut self) -> Parsed<Box<str>> {
        let Token::Ident(name) = self.current.token.clone() else {
            let (at, shown) = (self.current.start, self.shown());
            return Err(Fault::new(at, format!("Syntax error: no viable alternative at input '.{shown}'")));
        };
        self.advance()?;
        Ok(name)
    }

    fn arguments(&mut self) -> Parsed<Vec<Expr>> {
        let mut args = Vec::new();
        if self.take(")")? {
            return Ok(args);
        }
        loop {
            args.push(self.expression()?);
            if self.take(")")? {
                return Ok(args);
            }
            self.expect_either(",", ")")?;
        }
    }

    /// Takes `comma`, or complains that neither it nor `close` is there.
    fn expect_either(&mut self, comma: &str, close: &str) -> Parsed<()> {
        if self.take(comma)? {
            return Ok(());
        }
        let (at, shown) = (self.current.start, self.shown());
        Err(Fault::new(at, format!("Syntax error: mismatched input '{shown}' expecting {{'{close}', '{comma}'}}")))
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let at = self.current.start;
        match self.current.token.clone() {
            Token::Literal(Literal::Int(i64::MIN)) => Err(Fault::new(at, "invalid int literal")),
            Token::Literal(literal) => {
                self.advance()?;
                self.build.literal(at, literal)
            }
            Token::Ident(name) => self.named(at, &name),
            Token::Symbol("(") => {
                self.advance()?;
                let inner = self.expression()?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Symbol("[") => self.list(at),
            Token::Symbol("{") => self.map(at),
            Token::Symbol(".") => {
                self.advance()?;
                let Token::Ident(name) = self.current.token.clone() else { return Err(self.no_primary()) };
                self.named(at, &name)
            }
            _ => Err(self.no_primary()),
        }
    }

    fn no_primary(&self) -> Fault {
        let shown = self.shown();
        Fault::new(self.current.start, format!("Syntax error: mismatched input '{shown}' expecting {PRIMARY}"))
    }

    /// A variable or a global function.
    fn named(&mut self, at: usize, name: &str) -> Parsed<Expr> {
        if RESERVED.contains(&name) {
            return Err(Fault::new(at, format!("reserved identifier: {name}")));
        }
        self.advance()?;
        let open = self.current.start;
        if self.take("(")? {
            let args = self.arguments()?;
            return macros::expand(&mut self.build, open, name, None, args);
        }
        self.build.ident(at, name)
    }

    fn list(&mut self, at: usize) -> Parsed<Expr> {
        self.advance()?;
        let mut elements = Vec::new();
        while !self.take("]")? {
            let optional = self.take("?")?;
            let value = self.expression()?;
            elements.push(Element { value, optional });
            if !self.is("]") {
                self.expect_either(",", "]")?;
            }
        }
        self.build.make(at, Node::List(elements))
    }

    fn map(&mut self, at: usize) -> Parsed<Expr> {
        self.advance()?;
        let mut entries = Vec::new();
        while !self.take("}")? {
            let optional = self.take("?")?;
            let key = self.expression()?;
            self.expect(":")?;
            let value = self.expression()?;
            entries.push(Entry { key, value, optional });
            if !self.is("}") {
                self.expect_either(",", "}")?;
            }
        }
        self.build.make(at, Node::Map(entries))
    }

    fn message(&mut self, at: usize, name: String) -> Parsed<Expr> {
        let mut fields = Vec::new();
        while !self.take("}")? {
            let optional = self.take("?")?;
            let field = self.name()?;
            self.expect(":")?;
            let value = self.expression()?;
            fields.push(StructField { name: field, value, optional });
            if !self.is("}") {
                self.expect_either(",", "}")?;
            }
        }
        self.build.make(at, Node::Struct(Struct { name: name.into(), fields }))
    }
}

/// `a.b.c` as a name, where the expression is one.
fn qualified_name(expr: &Expr) -> Option<String> {
    match &expr.node {
        Node::Ident(name) => Some(name.to_string()),
        Node::Select(Select { operand, field, tests: false }) => Some(format!("{}.{field}", qualified_name(operand)?)),
        _ => None,
    }
}
