//! [`Clients`]: the clients of conversion webhooks, whose connections outlive a request.

use std::collections::HashMap;
use std::sync::Arc;

use api::Resource;
use api::custom::ConversionWebhook;
use parking_lot::Mutex;

use crate::webhook_client::{HookClient, Target};

/// One client a definition, made when it is needed first and again when the definition names another webhook.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    by_definition: Mutex<HashMap<String, (ConversionWebhook, Arc<HookClient>)>>,
}

impl Clients {
    /// The client of a kind's webhook.
    pub(super) fn of(&self, row: &Resource, hook: &ConversionWebhook) -> Arc<HookClient> {
        let definition = format!("{}.{}", row.plural, row.gvk.group);
        let mut clients = self.by_definition.lock();
        if let Some((_, client)) = clients.get(&definition).filter(|(known, _)| known == hook) {
            return client.clone();
        }
        let client = Arc::new(HookClient::new(&Target::of_conversion(hook), &hook.ca_bundle));
        clients.insert(definition, (hook.clone(), client.clone()));
        client
    }

    /// Lets go of a definition's client.
    pub(super) fn forget(&self, definition: &str) {
        self.by_definition.lock().remove(definition);
    }
}
