//! `table.sort` that ends whatever its comparator says, in time that grows as n log n.

use mlua::{Function, Lua, LuaString, MultiValue, Table, Value};

use crate::script::vm::callback::{Args, Fail, function, type_name};
use crate::script::vm::raw::{self, Wrap};

/// Merge sort in Lua, so that the count hook sees it and errors of the comparator stay what they are.
const MERGE: &str = r"
local plain = ...
return function(list, less)
    if less == nil then
        if plain(list) then return end
        less = function(a, b) return a < b end
    end
    local n, from, to = #list, list, {}
    local width = 1
    while width < n do
        local start = 1
        while start <= n do
            local middle, stop = start + width, start + 2 * width
            if middle > n + 1 then middle = n + 1 end
            if stop > n + 1 then stop = n + 1 end
            local left, right = start, middle
            for place = start, stop - 1 do
                if left < middle and (right >= stop or not less(from[right], from[left])) then
                    to[place] = from[left]
                    left = left + 1
                else
                    to[place] = from[right]
                    right = right + 1
                end
            end
            start = stop
        end
        from, to = to, from
        width = width * 2
    end
    if from ~= list then
        for i = 1, n do list[i] = from[i] end
    end
end
";

/// Sorts a list of numbers alone or of strings alone; false, and nothing done, for others.
fn sort_plain(args: &Args<'_>) -> Result<bool, Fail> {
    let list = args.table(0)?;
    let count = list.raw_len();
    let mut numbers: Vec<f64> = Vec::new();
    let mut strings: Vec<Vec<u8>> = Vec::new();
    for index in 1..=count {
        match list.raw_get::<Value>(index)? {
            Value::Number(n) if strings.is_empty() && !n.is_nan() => numbers.push(n),
            Value::Integer(n) if strings.is_empty() => numbers.push(n as f64),
            Value::String(s) if numbers.is_empty() => strings.push(s.as_bytes().to_vec()),
            Value::Table(_) | Value::UserData(_) => return Ok(false),
            Value::Number(_) if strings.is_empty() => return Ok(false),
            // Nothing can be less or more than these.
            other if index > 1 => {
                let first = type_name(&list.raw_get::<Value>(1)?);
                let own = type_name(&other);
                return Err(Fail::text(match first == own {
                    true => format!("attempt to compare two {own} values"),
                    false => format!("attempt to compare {own} with {first}"),
                }));
            }
            _ => return Ok(false),
        }
    }
    numbers.sort_unstable_by(f64::total_cmp);
    strings.sort_unstable();
    for (index, number) in (1..).zip(numbers) {
        list.raw_set(index, number)?;
    }
    for (index, string) in (1..).zip(strings) {
        let string: LuaString = args.lua.create_string(string)?;
        list.raw_set(index, string)?;
    }
    Ok(true)
}

/// Puts the function into `table`.
pub fn install(lua: &Lua, globals: &Table) -> mlua::Result<()> {
    let table: Table = globals.raw_get("table")?;
    for (name, how) in [("insert", Wrap::Insert), ("remove", Wrap::Guarded)] {
        let own: Function = table.raw_get(name)?;
        table.raw_set(name, raw::wrap(lua, own, how)?)?;
    }
    table.raw_set("setn", Value::Nil)?;
    let plain = function(lua, "sort", |args| {
        Ok(MultiValue::from_iter([Value::Boolean(sort_plain(args)?)]))
    })?;
    let merge: Function = lua.load(MERGE).set_name("=table.sort").call(plain)?;
    table.raw_set("sort", raw::sorting(lua, merge)?)
}
