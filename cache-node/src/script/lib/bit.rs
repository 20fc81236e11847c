//! `bit`: operations on 32-bit integers.
//!
//! Source: the semantics page of Lua BitOp (bitop.luajit.org/semantics.html).

use mlua::{Lua, Table, Value};

use crate::script::vm::callback::{Args, Fail, define, one};

/// An operation on two words, and its name.
type Named = (&'static str, fn(u32, u32) -> u32);

/// A number as the 32 bits that it means: modulo 2³², halves to even.
fn bits(n: f64) -> u32 {
    if !n.is_finite() {
        return 0;
    }
    let rest = n.round_ties_even() % 4_294_967_296.0;
    (rest as i64) as u32
}

fn argument(args: &Args<'_>, index: usize) -> Result<u32, Fail> {
    args.number(index).map(bits)
}

fn signed(bits: u32) -> Value {
    Value::Number(f64::from(bits as i32))
}

/// The library.
pub fn install(lua: &Lua, globals: &Table) -> mlua::Result<()> {
    let bit = lua.create_table()?;
    define(lua, &bit, "tobit", |args| one(signed(argument(args, 0)?)))?;
    define(lua, &bit, "bnot", |args| one(signed(!argument(args, 0)?)))?;
    define(lua, &bit, "bswap", |args| one(signed(argument(args, 0)?.swap_bytes())))?;
    let folds: [Named; 3] = [("band", |a, b| a & b), ("bor", |a, b| a | b), ("bxor", |a, b| a ^ b)];
    for (name, fold) in folds {
        define(lua, &bit, name, move |args| {
            let mut result = argument(args, 0)?;
            for index in 1..args.len() {
                result = fold(result, argument(args, index)?);
            }
            one(signed(result))
        })?;
    }
    let shifts: [Named; 5] = [
        ("lshift", |a, n| a << n),
        ("rshift", |a, n| a >> n),
        ("arshift", |a, n| (a as i32 >> n) as u32),
        ("rol", u32::rotate_left),
        ("ror", u32::rotate_right),
    ];
    for (name, shift) in shifts {
        define(lua, &bit, name, move |args| {
            one(signed(shift(argument(args, 0)?, argument(args, 1)? & 31)))
        })?;
    }
    define(lua, &bit, "tohex", |args| {
        let value = argument(args, 0)?;
        let digits = if args.len() > 1 { argument(args, 1)? as i32 } else { 8 };
        let width = digits.unsigned_abs().min(8) as usize;
        let all = if digits < 0 { format!("{value:08X}") } else { format!("{value:08x}") };
        one(args.text(&all[8 - width..])?)
    })?;
    globals.raw_set("bit", bit)
}

#[cfg(test)]
mod tests {
    use super::bits;

    #[test]
    fn numbers_wrap_into_32_bits() {
        assert_eq!(bits(-1.0), u32::MAX);
        assert_eq!(bits(4_294_967_296.0 + 5.0), 5);
        assert_eq!(bits(2_147_483_648.0) as i32, i32::MIN);
        assert_eq!(bits(1e300), bits(1e300));
        assert_eq!(bits(f64::NAN), 0);
    }
}
