//! Debug implementations for messages with secrets. prost would print the values.

use heck::{ToSnakeCase as _, ToUpperCamelCase as _};
use protox::prost_reflect::{
    DescriptorPool, FieldDescriptor, MessageDescriptor, OneofDescriptor, Value,
};

/// The messages that have at least one `[debug_redact = true]` field.
pub(crate) struct Redacted(Vec<MessageDescriptor>);

impl Redacted {
    pub(crate) fn find(pool: &DescriptorPool) -> Self {
        let messages = pool.all_messages();
        Self(
            messages
                .filter(|message| message.fields().any(|field| hidden(&field)))
                .collect(),
        )
    }

    /// Paths of the messages and oneofs for which prost must not derive Debug.
    pub(crate) fn paths(&self) -> Vec<String> {
        let messages = self
            .0
            .iter()
            .map(|message| format!(".{}", message.full_name()));
        let oneofs = self.0.iter().flat_map(secret_oneofs);
        messages
            .chain(oneofs.map(|oneof| format!(".{}", oneof.full_name())))
            .collect()
    }

    /// The source text of the Debug implementations.
    pub(crate) fn debug_impls(&self) -> String {
        self.0.iter().map(debug_impl).collect()
    }
}

fn secret_oneofs(message: &MessageDescriptor) -> impl Iterator<Item = OneofDescriptor> {
    let oneofs: Vec<_> = message
        .oneofs()
        .filter(|oneof| !oneof.is_synthetic() && oneof.fields().any(|field| hidden(&field)))
        .collect();
    oneofs.into_iter()
}

fn hidden(field: &FieldDescriptor) -> bool {
    let options = field.options();
    let value = options.get_field_by_name("debug_redact");
    matches!(value.as_deref(), Some(Value::Bool(true)))
}

fn debug_impl(message: &MessageDescriptor) -> String {
    assert!(
        message.parent_message().is_none(),
        "{}: secrets in nested messages",
        message.full_name()
    );
    let module = message.package_name().replace('.', "::");
    let own = |field: &FieldDescriptor| {
        field
            .containing_oneof()
            .is_none_or(|oneof| oneof.is_synthetic())
    };
    let mut body = String::new();
    for field in message.fields().filter(own) {
        let name = field.name();
        let value = if hidden(&field) {
            "\"<redacted>\"".into()
        } else {
            format!("self.r#{name}")
        };
        body += &format!(".field({name:?}, &{value})");
    }
    for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
        body += &format!(".field({0:?}, &self.r#{0})", oneof.name());
    }
    let oneofs: String = secret_oneofs(message)
        .map(|oneof| oneof_impl(&module, message, &oneof))
        .collect();
    let name = message.name();
    oneofs
        + &fmt_impl(
            &format!("{module}::{name}"),
            &format!("f.debug_struct({name:?}){body}.finish()"),
        )
}

fn oneof_impl(module: &str, message: &MessageDescriptor, oneof: &OneofDescriptor) -> String {
    let arms: String = oneof
        .fields()
        .map(
            |field| match (field.name().to_upper_camel_case(), hidden(&field)) {
                (variant, true) => {
                    format!("Self::{variant}(_) => f.write_str(\"{variant}(<redacted>)\"),")
                }
                (variant, false) => {
                    format!("Self::{variant}(x) => f.debug_tuple({variant:?}).field(x).finish(),")
                }
            },
        )
        .collect();
    let path = format!(
        "{module}::{}::{}",
        message.name().to_snake_case(),
        oneof.name().to_upper_camel_case()
    );
    fmt_impl(&path, &format!("match self {{ {arms} }}"))
}

fn fmt_impl(path: &str, body: &str) -> String {
    format!(
        "impl ::core::fmt::Debug for {path} {{ fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{ {body} }} }}\n"
    )
}
