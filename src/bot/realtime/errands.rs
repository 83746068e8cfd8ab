//! What a model wants done: by the call, once the caller has heard it out, or beside the conversation.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use crate::bot::tools::verbs::Doing;
use crate::bot::tools::{Elsewhere, ToolCall};

/// The errands of a call's answer.
#[derive(Default)]
pub(super) struct Errands {
    /// For the call, in this order.
    then: Vec<(ToolCall, Doing)>,
    /// Those whose results are awaited.
    awaited: Vec<ToolCall>,
    running: FuturesUnordered<BoxFuture<'static, (ToolCall, String)>>,
}

impl Errands {
    /// The call does this later.
    pub fn later(&mut self, call: ToolCall, doing: Doing) {
        self.then.push((call, doing));
    }

    /// Begins one that runs by itself, for so long at most.
    pub fn begin(&mut self, call: ToolCall, tool: Elsewhere, most: Duration) {
        self.awaited.push(call.clone());
        self.running.push(Box::pin(async move {
            let (text, _) = tool.answer(most).await;
            (call, text)
        }));
    }

    /// The next that is done, and what the model is told; waits for ever while there is none. Cancel-safe.
    pub async fn next(&mut self) -> (ToolCall, String) {
        while let Some((call, text)) = self.running.next().await {
            let wanted = self.awaited.len();
            self.awaited.retain(|awaited| awaited.id != call.id);
            if self.awaited.len() < wanted {
                return (call, text);
            }
        }
        std::future::pending().await
    }

    /// Whether results are awaited.
    pub fn are_running(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// Whether the call has something to do.
    pub fn are_due(&self) -> bool {
        !self.then.is_empty() && !self.are_running()
    }

    /// What the call has to do.
    pub fn take_due(&mut self) -> Vec<(ToolCall, Doing)> {
        std::mem::take(&mut self.then)
    }

    /// Nothing of it is wanted any more: all that the model waits for.
    pub fn cancel(&mut self) -> Vec<ToolCall> {
        self.running.clear();
        let waiting = std::mem::take(&mut self.awaited).into_iter();
        waiting.chain(self.take_due().into_iter().map(|(call, _)| call)).collect()
    }

    /// The model itself does not want these any more.
    pub fn forget(&mut self, ids: &[String]) {
        self.then.retain(|(call, _)| !ids.contains(&call.id));
        self.awaited.retain(|call| !ids.contains(&call.id));
    }
}
