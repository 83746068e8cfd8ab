//! Several models, one after the other: who fails before his first word is followed by the next, and is left alone for a
//! while when that happens again and again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt as _;

use super::{Message, Model, Piece, Pieces, Request};
use crate::service::{Breaker, BreakerConfig, ServiceError};
use crate::time::Moment;

/// Models in the order in which they are asked. Shared by all calls.
pub struct Chain {
    links: Vec<Link>,
}

struct Link {
    model: Arc<dyn Model>,
    breaker: Mutex<Breaker>,
}

/// A reply that has begun.
pub struct Reply {
    /// Who gives it.
    pub model: Arc<dyn Model>,
    /// What came first, up to something that can be said or done.
    pub first: Vec<Piece>,
    /// What follows.
    pub rest: Pieces,
}

impl Chain {
    /// Models in this order; one at least.
    #[must_use]
    pub fn new(models: impl IntoIterator<Item = Arc<dyn Model>>) -> Self {
        let link = |model| Link { model, breaker: Mutex::new(Breaker::new(BreakerConfig::default())) };
        Self { links: models.into_iter().map(link).collect() }
    }

    /// Asks the first that is in service and says something. Where none is, all are asked: a caller is waiting.
    ///
    /// # Errors
    /// That of the last one.
    pub async fn ask(&self, request: &Request) -> Result<Reply, ServiceError> {
        let mut last = None;
        for pass in 0..2 {
            for link in &self.links {
                // In the second pass nobody was in service.
                if pass == 0 && !link.breaker().ask(Moment::now()).is_yes() {
                    continue;
                }
                match begin(&link.model, request).await {
                    Ok(reply) => {
                        link.breaker().succeeded();
                        return Ok(reply);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a language model failed");
                        link.failed(&error);
                        last = Some(error);
                    }
                }
            }
            if last.is_some() {
                break;
            }
        }
        Err(last.unwrap_or(ServiceError::Unreachable { service: "agent", what: "it has no model".into() }))
    }

    /// What a million tokens of the first one cost, for what is only reckoned.
    #[must_use]
    pub fn price(&self) -> (f64, f64) {
        self.links.first().map_or((0.0, 0.0), |link| link.model.price())
    }

    /// A reply broke off in the middle.
    pub fn broke_off(&self, model: &Arc<dyn Model>, error: &ServiceError) {
        tracing::warn!(%error, "a language model broke off");
        if let Some(link) = self.links.iter().find(|link| Arc::ptr_eq(&link.model, model)) {
            link.failed(error);
        }
    }
}

async fn begin(model: &Arc<dyn Model>, request: &Request) -> Result<Reply, ServiceError> {
    // Of a reply without a word the end is told here, and looked for again by who reads on.
    let (mut rest, mut first): (Pieces, _) = (Box::pin(model.ask(request).fuse()), Vec::new());
    while let Some(piece) = rest.next().await {
        let piece = piece?;
        let is_something = matches!(piece, Piece::Text(_) | Piece::Call(_));
        first.push(piece);
        if is_something {
            return Ok(Reply { model: Arc::clone(model), first, rest });
        }
    }
    // Behind a tool there may be nothing more to say; to a caller there is.
    if !matches!(request.messages.last(), Some(Message::Result { .. })) {
        return Err(ServiceError::Broken { service: model.name(), what: "it said nothing".into() });
    }
    Ok(Reply { model: Arc::clone(model), first, rest })
}

impl Link {
    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, error: &ServiceError) {
        let (now, mut breaker) = (Moment::now(), self.breaker());
        if error.is_lasting() || error.retry_after().is_some() {
            breaker.trip(now, error.retry_after());
        } else {
            breaker.failed(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::stream;

    use super::super::Usage;
    use super::*;

    /// Says what it is told to, once for each question; the last of it for ever.
    struct Parrot(&'static str, Mutex<Vec<Result<Piece, ServiceError>>>, AtomicU32);

    impl Parrot {
        fn new(name: &'static str, says: impl IntoIterator<Item = Result<Piece, ServiceError>>) -> Arc<Self> {
            Arc::new(Self(name, Mutex::new(says.into_iter().collect()), AtomicU32::new(0)))
        }

        fn asked(&self) -> u32 {
            self.2.load(Ordering::Relaxed)
        }
    }

    impl Model for Parrot {
        fn name(&self) -> &'static str {
            self.0
        }

        fn ask(&self, _: &Request) -> Pieces {
            self.2.fetch_add(1, Ordering::Relaxed);
            let mut says = self.1.lock().expect("nobody panics with it");
            let says = if says.len() > 1 { says.remove(0) } else { says[0].clone() };
            Box::pin(stream::iter([says]))
        }
    }

    fn failed() -> Result<Piece, ServiceError> {
        Err(ServiceError::Broken { service: "a", what: "500".into() })
    }

    fn text(text: &str) -> Result<Piece, ServiceError> {
        Ok(Piece::Text(text.into()))
    }

    #[tokio::test]
    async fn the_next_one_answers_and_who_refuses_us_is_not_asked_again_soon() {
        let refused = Err(ServiceError::Refused { service: "a", what: "401".into() });
        let (a, b) = (Parrot::new("a", [refused]), Parrot::new("b", [text("Hi")]));
        let chain = Chain::new([Arc::clone(&a) as Arc<dyn Model>, Arc::clone(&b) as _]);
        for _ in 0..3 {
            let Ok(reply) = chain.ask(&Request::default()).await else { panic!("the second answers") };
            assert_eq!((reply.model.name(), reply.first), ("b", vec![Piece::Text("Hi".into())]));
        }
        assert_eq!((a.asked(), b.asked()), (1, 3));
    }

    #[tokio::test]
    async fn a_model_that_says_nothing_to_a_caller_has_failed() {
        let nothing = || Ok(Piece::Usage(Usage::default()));
        let chain =
            Chain::new([Parrot::new("a", [nothing()]) as Arc<dyn Model>, Parrot::new("b", [text("Hi")])]);
        let said = chain.ask(&Request::default()).await.map(|reply| reply.model.name()).ok();
        assert_eq!(said, Some("b"));
        let told = Message::Result { call: "1".into(), text: "done".into(), failed: false };
        let after_a_tool = Request { messages: vec![told], ..Request::default() };
        let Ok(mut reply) = chain.ask(&after_a_tool).await else { panic!("there is nothing more to say") };
        assert_eq!(reply.model.name(), "a");
        assert!(reply.rest.next().await.is_none() && reply.rest.next().await.is_none());
    }

    #[tokio::test]
    async fn who_fails_now_and_then_is_asked_on_and_who_fails_always_rests_unless_he_is_alone() {
        let a = Parrot::new("a", [failed(), text("x"), failed(), failed(), failed()]);
        let b = Parrot::new("b", [text("y")]);
        let chain = Chain::new([Arc::clone(&a) as Arc<dyn Model>, b as _]);
        for _ in 0..8 {
            assert!(chain.ask(&Request::default()).await.is_ok());
        }
        assert_eq!(a.asked(), 5, "three failures in a row");
        let alone = Chain::new([Arc::clone(&a) as Arc<dyn Model>]);
        for _ in 0..5 {
            assert!(alone.ask(&Request::default()).await.is_err());
        }
        assert_eq!(a.asked(), 10, "there is nobody else");
    }
}
