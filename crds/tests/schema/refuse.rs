//! As much of the API server's validation as the definition uses: structure by hand, rules by a
//! CEL interpreter.

use kube_cel::Validator;
use serde_json::Value;

/// Why the API server refuses the resource, in about its words.
pub fn errors(schema: &Value, resource: &Value, old: Option<&Value>) -> Vec<String> {
    let mut errors = Vec::new();
    structure("", schema, resource, &mut errors);
    if errors.is_empty()
        && let Err(failed) = Validator::new().validate(schema, resource, old)
    {
        errors.extend(failed.as_slice().iter().map(ToString::to_string));
    }
    errors
}

fn structure(path: &str, schema: &Value, value: &Value, errors: &mut Vec<String>) {
    let mut refuse = |what: String| errors.push(format!("{path}: {what}"));
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        refuse(format!("Unsupported value: {value}"));
    }
    if let Some(number) = value.as_f64()
        && (schema["minimum"].as_f64().is_some_and(|minimum| number < minimum)
            || schema["maximum"].as_f64().is_some_and(|maximum| number > maximum))
    {
        refuse(format!("Invalid value: {value}"));
    }
    if let Some(text) = value.as_str() {
        let length = text.chars().count() as u64;
        if schema["minLength"].as_u64().is_some_and(|min| length < min)
            || schema["maxLength"].as_u64().is_some_and(|max| length > max)
        {
            refuse(format!("Invalid value: {value}"));
        }
    }
    if let Some(items) = value.as_array() {
        list(path, schema, items, errors);
    }
    if let Some(map) = value.as_object() {
        for name in schema["required"].as_array().into_iter().flatten() {
            let name = name.as_str().unwrap();
            if !map.contains_key(name) {
                errors.push(format!("{}: Required value", join(path, name)));
            }
        }
        let Some(properties) = schema["properties"].as_object() else { return };
        for (name, field) in map {
            match properties.get(name) {
                Some(property) => structure(&join(path, name), property, field, errors),
                None if path.is_empty() => {}
                None => errors.push(format!("unknown field {}", join(path, name))),
            }
        }
    }
}

fn list(path: &str, schema: &Value, items: &[Value], errors: &mut Vec<String>) {
    if schema["maxItems"].as_u64().is_some_and(|max| items.len() as u64 > max) {
        errors.push(format!("{path}: Too many"));
    }
    let key = |item: &Value| match schema["x-kubernetes-list-type"].as_str() {
        Some("map") => {
            let name = schema["x-kubernetes-list-map-keys"][0].as_str().unwrap();
            Some(item[name].clone())
        }
        Some("set") => Some(item.clone()),
        _ => None,
    };
    for (i, item) in items.iter().enumerate() {
        if let Some(this) = key(item)
            && items[..i].iter().any(|other| key(other).as_ref() == Some(&this))
        {
            errors.push(format!("{path}[{i}]: Duplicate value: {this}"));
        }
        structure(&format!("{path}[{i}]"), &schema["items"], item, errors);
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
