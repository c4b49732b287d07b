//! Turns the `patchbay.access.v1.rule` options into the method table and into `ScopedRequest`
//! implementations. Every RPC of ours must have a rule, and every field a rule names must exist.

use anyhow::{Context as _, bail, ensure};
use heck::{ToShoutySnakeCase as _, ToUpperCamelCase as _};
use protox::prost_reflect::{
    DescriptorPool, DynamicMessage, Kind, MessageDescriptor, MethodDescriptor, ReflectMessage as _,
    Value,
};

use crate::OWN_PACKAGES;

/// The source text of `METHOD_RULES` and of all `ScopedRequest` implementations.
pub(crate) fn method_table(pool: &DescriptorPool) -> anyhow::Result<String> {
    let mut table = String::new();
    let mut impls = String::new();
    let own = pool
        .services()
        .filter(|service| service.full_name().starts_with(OWN_PACKAGES));
    for method in own.flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let rule = Rule::read(&method).with_context(|| method.full_name().to_owned())?;
        let request = rust_path(&method.input());
        table += &format!("<{request} as ::names::access::ScopedRequest>::RULE,\n");
        impls += &format!(
            "impl ::names::access::ScopedRequest for {request} {{\n\
             const RULE: ::names::access::MethodRule = {};\n\
             fn visit_scopes<'a>(&'a self, visit: &mut dyn FnMut(&'static str, &'a str)) {{ {} }}\n}}\n",
            rule.literal(&method),
            rule.visits(&method.input())?,
        );
    }
    Ok(format!(
        "static METHOD_RULES: &[::names::access::MethodRule] = &[\n{table}];\n{impls}"
    ))
}

struct Rule {
    roles: Vec<String>,
    verb: Option<String>,
    fields: Vec<String>,
    scope: String,
    idempotent: bool,
}

impl Rule {
    fn read(method: &MethodDescriptor) -> anyhow::Result<Self> {
        let pool = method.parent_pool();
        let extension = pool
            .get_extension_by_name("patchbay.access.v1.rule")
            .context("the access option is not compiled")?;
        let options = method.options();
        ensure!(
            options.has_extension(&extension),
            "has no (patchbay.access.v1.rule)"
        );
        let value = options.get_extension(&extension);
        let rule = value
            .as_message()
            .context("the access option is a message")?;
        let roles = enum_names(rule, "roles")?;
        ensure!(!roles.is_empty(), "names no role");
        let verb = enum_names(rule, "verb")?
            .into_iter()
            .next()
            .filter(|name| name != "VERB_UNSPECIFIED");
        let (names, parents) = (texts(rule, "name_fields")?, texts(rule, "parent_fields")?);
        let scope = match (names.is_empty(), parents.is_empty()) {
            (true, true) => "None".to_owned(),
            (true, false) => "Parent".to_owned(),
            (false, true) => {
                let resource = rule.get_field_by_name("resource");
                let resource = resource
                    .as_deref()
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                ensure!(!resource.is_empty(), "names a resource of no type");
                let reason = format!("{}_NOT_FOUND", resource.to_shouty_snake_case());
                format!("Name {{ reason: {reason:?}, resource_type: \"patchbay/{resource}\" }}")
            }
            (false, false) => bail!("a request names either resources or parents"),
        };
        ensure!(
            verb.is_some() != (scope == "None"),
            "a verb needs a scope, and a scope a verb"
        );
        let idempotency = options.get_field_by_name("idempotency_level");
        let idempotent = idempotency
            .as_deref()
            .and_then(Value::as_enum_number)
            .unwrap_or(0)
            != 0;
        Ok(Self {
            roles,
            verb,
            fields: [names, parents].concat(),
            scope,
            idempotent,
        })
    }

    fn literal(&self, method: &MethodDescriptor) -> String {
        let variant = |name: &String, prefix: &str| {
            name.strip_prefix(prefix)
                .unwrap_or(name)
                .to_lowercase()
                .to_upper_camel_case()
        };
        let roles: String = self
            .roles
            .iter()
            .map(|role| format!("::names::access::Role::{}, ", variant(role, "ROLE_")))
            .collect();
        let verb = self.verb.as_ref().map_or("None".to_owned(), |verb| {
            format!("Some(::names::access::Verb::{})", variant(verb, "VERB_"))
        });
        format!(
            "::names::access::MethodRule {{ path: \"/{}/{}\", roles: &[{roles}], verb: {verb}, scope: ::names::access::ScopeSource::{}, idempotent: {}, streaming: {} }}",
            method.parent_service().full_name(),
            method.name(),
            self.scope,
            self.idempotent,
            method.is_client_streaming() || method.is_server_streaming(),
        )
    }

    fn visits(&self, request: &MessageDescriptor) -> anyhow::Result<String> {
        if self.fields.is_empty() {
            return Ok("let _ = visit;".to_owned());
        }
        self.fields
            .iter()
            .map(|path| visit_field(request, path))
            .collect()
    }
}

/// The statement that visits one field. A missing message on the way counts as an empty name, which
/// no scope matches: leaving it out must never open a door.
fn visit_field(request: &MessageDescriptor, path: &str) -> anyhow::Result<String> {
    let field = |message: &MessageDescriptor, name: &str| {
        message
            .get_field_by_name(name)
            .with_context(|| format!("there is no field {path}"))
    };
    match path.split_once('.') {
        None => {
            let found = field(request, path)?;
            ensure!(found.kind() == Kind::String, "{path} is not a string");
            Ok(if found.is_list() {
                format!("for name in &self.{path} {{ visit({path:?}, name); }}")
            } else {
                format!("visit({path:?}, &self.{path});")
            })
        }
        Some((outer, inner)) => {
            let Kind::Message(message) = field(request, outer)?.kind() else {
                bail!("{outer} is not a message");
            };
            ensure!(
                field(&message, inner)?.kind() == Kind::String,
                "{path} is not a string"
            );
            Ok(format!(
                "visit({path:?}, self.{outer}.as_ref().map_or(\"\", |message| message.{inner}.as_str()));"
            ))
        }
    }
}

fn rust_path(message: &MessageDescriptor) -> String {
    format!(
        "{}::{}",
        message.package_name().replace('.', "::"),
        message.name()
    )
}

fn enum_names(rule: &DynamicMessage, field: &str) -> anyhow::Result<Vec<String>> {
    let descriptor = rule
        .descriptor()
        .get_field_by_name(field)
        .context("no such field")?;
    let Kind::Enum(kind) = descriptor.kind() else {
        bail!("{field} is not an enum")
    };
    let value = rule.get_field(&descriptor);
    let numbers: Vec<i32> = match value.as_ref() {
        Value::List(values) => values.iter().filter_map(Value::as_enum_number).collect(),
        Value::EnumNumber(number) => vec![*number],
        other => bail!("{field} holds {other:?}"),
    };
    let name = |number| kind.get_value(number).map(|value| value.name().to_owned());
    numbers
        .into_iter()
        .map(|number| name(number).context("unknown enum value"))
        .collect()
}

fn texts(rule: &DynamicMessage, field: &str) -> anyhow::Result<Vec<String>> {
    let value = rule.get_field_by_name(field).context("no such field")?;
    let values = value.as_list().context("is a list")?;
    Ok(values
        .iter()
        .filter_map(|value| value.as_str().map(str::to_owned))
        .collect())
}
