//! The channels of a call in Asterisk: the caller's leg, our externalMedia channel, the bridge that joins them.
//!
//! All ids but an inbound caller's are ours and name the call ([`OurId`]), so that whatever is left behind can be
//! found and told whose it was. A [`Leg`] is taken down by [`Leg::clear`], whatever state it is in.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc;

use super::{CallError, Snapshot};
use crate::asterisk::ari::model::Channel;
use crate::asterisk::ari::ops::{Continue, CreateBridge, ExternalMedia, HangupReason};
use crate::asterisk::ari::{Ari, AriError, BridgeId, ChannelId};
use crate::audio::codec::Format;
use crate::id::{CallId, OurId, Part};
use crate::media::link::{Dial, SECRET, dial};
use crate::media::{Invitation, Link, Seat, TransportKind};
use crate::time::Moment;

/// How long the media channel may take to enter the application; on an idle server it takes 5 ms.
const MEDIA_CHANNEL_PATIENCE: Duration = Duration::from_secs(3);

/// How long the media connection may take to come; on an idle server it is there before ARI has answered.
const CONNECTION_PATIENCE: Duration = Duration::from_secs(3);

/// How often it is looked whether the media channel of another process is gone.
const OLD_CHANNEL_POLL: Duration = Duration::from_millis(10);

/// What is left of a call's channels besides the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// The media channel and the caller are in the bridge.
    Whole,
    /// The caller is in the bridge with a person; the bot is out of it.
    Talking,
    /// Something of it is gone.
    Broken,
}

/// By what a call's audio comes, and how it is coded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaPlan {
    /// The transport.
    pub transport: TransportKind,
    /// The format.
    pub format: Format,
    /// The section of websocket_client.conf by which Asterisk connects to us.
    pub websocket_client: String,
}

impl Default for MediaPlan {
    /// µ-law over RTP.
    fn default() -> Self {
        let (transport, format) = (TransportKind::Rtp, Format::Ulaw);
        Self { transport, format, websocket_client: "offhook".into() }
    }
}

/// Something that happened on one of the call's channels. The engine routes it here from the events socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegEvent {
    /// The media channel is in the application and may be bridged.
    MediaReady,
    /// The caller pressed a key.
    Key {
        /// Which.
        key: char,
        /// When Asterisk reported its end.
        at: Moment,
    },
    /// Who was called for the caller pressed one.
    PersonKey {
        /// Which.
        key: char,
        /// When Asterisk reported its end.
        at: Moment,
    },
    /// The channel of a call that we make is in the application; nobody was dialled yet.
    Made,
    /// It rings where we call.
    Ringing,
    /// Who we called has answered.
    Up,
    /// The media channel has ended though the caller has not.
    MediaLost,
    /// The caller's channel has ended or left the application.
    Gone(Gone),
}

/// How a caller went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// He hung up, or was hung up by Asterisk, with this cause (Q.850).
    HungUp {
        /// Q.850 cause code; 16 is a normal hang-up, 0 is unknown.
        cause: u16,
    },
    /// His channel left the application: somebody moved it.
    Left,
    /// Asterisk itself went away.
    ServerLost,
    /// The caller is there, but his audio has ended.
    MediaLost,
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HungUp { cause } => write!(f, "hung up, cause {cause}"),
            Self::Left => f.write_str("his channel left the application"),
            Self::ServerLost => f.write_str("Asterisk was lost"),
            Self::MediaLost => f.write_str("the media channel has ended"),
        }
    }
}

/// Waits for this of the call's events; what else comes is not told again.
///
/// # Errors
/// [`CallError::Gone`] when the caller or the audio ends first.
pub async fn until(events: &mut mpsc::Receiver<LegEvent>, wanted: LegEvent) -> Result<(), CallError> {
    loop {
        match events.recv().await {
            Some(event) if event == wanted => return Ok(()),
            Some(LegEvent::Gone(gone)) => return Err(CallError::Gone(gone)),
            Some(LegEvent::MediaLost) => return Err(CallError::Gone(Gone::MediaLost)),
            Some(_) => {}
            None => return Err(CallError::MediaEnded),
        }
    }
}

/// A place in the dialplan; what is [`None`] stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DialplanPlace {
    /// Context.
    pub context: Option<String>,
    /// Extension.
    pub extension: Option<String>,
    /// Priority, from 1.
    pub priority: Option<u32>,
}

/// The call that channels are made for.
#[derive(Debug, Clone, Copy)]
pub struct Whose<'a> {
    /// The server.
    pub ari: &'a Ari,
    /// Our Stasis application.
    pub app: &'a str,
    /// The call.
    pub call: CallId,
    /// The caller's channel, as far as it is known.
    pub channel: &'a ChannelId,
    /// By what its audio comes.
    pub plan: &'a MediaPlan,
    /// Whether another attempt may have left a media channel and a bridge of the call.
    pub again: bool,
}

/// The channels of one call. See the [module](self).
#[derive(Debug)]
pub struct Leg {
    pub(super) ari: Ari,
    pub(super) app: String,
    pub(super) call: CallId,
    pub(super) channel: ChannelId,
    plan: MediaPlan,
    our_address: SocketAddr,
    peer_address: Option<SocketAddr>,
    /// Whether the caller's channel is in the bridge.
    inside: bool,
    /// Whether the caller's channel is not ours to hang up any more: gone, or left to the dialplan.
    released: bool,
    /// Whether a media channel of another process was hung up, the end of which may still be told.
    dropped: bool,
    /// Whether there may be somebody beside the caller: who was called for him.
    pub(super) beside: bool,
}

impl Leg {
    /// Channels that nobody made, for tests and benchmarks without an Asterisk.
    pub(crate) fn nowhere(ari: Ari, call: CallId) -> Self {
        Self {
            ari,
            app: "test".into(),
            call,
            channel: "nobody".into(),
            plan: MediaPlan::default(),
            our_address: SocketAddr::from(([127, 0, 0, 1], 9)),
            peer_address: None,
            inside: false,
            released: true,
            dropped: false,
            beside: false,
        }
    }

    /// Makes media channel and bridge for a caller's channel and joins these two, so that the channel itself need just
    /// [`enter`](Self::enter); gives what the audio comes by as well. `events` must already receive what the engine routes to
    /// this call of its media channel. Nothing is left behind when it fails, but the caller's channel.
    ///
    /// # Errors
    /// When Asterisk refuses or does not answer or connect in time, or the caller leaves meanwhile.
    pub async fn prepare(
        whose: &Whose<'_>,
        seat: &mut Seat,
        events: &mut mpsc::Receiver<LegEvent>,
    ) -> Result<(Self, Link), CallError> {
        let mut leg = Self {
            ari: whose.ari.clone(),
            app: whose.app.to_owned(),
            call: whose.call,
            channel: whose.channel.clone(),
            plan: whose.plan.clone(),
            our_address: seat.advertised(),
            peer_address: None,
            inside: false,
            released: false,
            dropped: false,
            beside: false,
        };
        let made = match whose.again {
            true => leg.make_again(seat, events).await,
            false => leg.make(seat, events).await,
        };
        match made {
            Ok(link) => Ok((leg, link)),
            Err(error) => {
                leg.abandon().await;
                Err(error)
            }
        }
    }

    /// Joins the caller, who is on `channel`, with what was prepared for him. Nothing is left behind when it fails, but his
    /// channel.
    ///
    /// # Errors
    /// When he is gone or Asterisk refuses.
    pub async fn enter(mut self, channel: &ChannelId) -> Result<Self, CallError> {
        self.channel = channel.clone();
        match self.add_caller().await {
            Ok(()) => Ok(self),
            Err(error) => {
                self.abandon().await;
                Err(error)
            }
        }
    }

    async fn add_caller(&mut self) -> Result<(), CallError> {
        if !std::mem::replace(&mut self.inside, true) {
            self.ari.bridges().add_channel(&self.main_bridge(), &self.channel).await?;
        }
        Ok(())
    }

    /// Takes up the channels of a call that another process served: its media channel goes on where `there` says that it is
    /// up and sends to `seat`; otherwise a new one takes its place. Nothing is left behind when it fails, but the caller's
    /// channel.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare).
    pub async fn adopt(
        ari: &Ari,
        snapshot: &Snapshot,
        there: Left,
        seat: &mut Seat,
        plan: &MediaPlan,
        events: &mut mpsc::Receiver<LegEvent>,
    ) -> Result<(Self, Link), CallError> {
        let mut leg = Self {
            ari: ari.clone(),
            app: snapshot.app.clone(),
            call: snapshot.call,
            channel: snapshot.channel.as_str().into(),
            plan: plan.clone(),
            our_address: seat.advertised(),
            peer_address: None,
            inside: false,
            released: false,
            dropped: false,
            beside: true,
        };
        let link = match (snapshot.peer_address, there) {
            (Some(peer), Left::Whole | Left::Talking) if leg.our_address == snapshot.our_address => {
                leg.peer_address = Some(peer);
                return Ok((leg, seat.link(peer)));
            }
            (_, Left::Talking) => leg.connect_apart(seat, events).await,
            _ => leg.connect_anew(seat, events).await,
        };
        match link {
            Ok(link) => Ok((leg, link)),
            Err(error) => {
                leg.abandon().await;
                Err(error)
            }
        }
    }

    /// Clears what is left of the media channel and the bridge, and makes both again.
    async fn connect_anew(
        &mut self,
        seat: &mut Seat,
        events: &mut mpsc::Receiver<LegEvent>,
    ) -> Result<Link, CallError> {
        self.drop_media().await?;
        self.clear_beside().await;
        ignore_gone(self.ari.bridges().destroy(&self.main_bridge()).await)?;
        let link = self.make(seat, events).await?;
        self.add_caller().await?;
        Ok(link)
    }

    /// Clears what is left of the media channel, and makes another in the bridge, where there is one. The id of a bridge that a
    /// channel was in that nobody has answered would not be free again until that channel ends (Asterisk 22.10).
    async fn make_again(
        &mut self,
        seat: &mut Seat,
        events: &mut mpsc::Receiver<LegEvent>,
    ) -> Result<Link, CallError> {
        self.drop_media().await?;
        let bridge = self.main_bridge();
        let there = match self.ari.bridges().get(&bridge).await {
            Ok(there) => there,
            Err(error) if error.is_gone() => return self.make(seat, events).await,
            Err(error) => return Err(error.into()),
        };
        self.inside = there.channels.contains(&self.channel);
        let link = self.connect_media(seat, events).await?;
        self.ari.bridges().add_channel(&bridge, &self.media()).await?;
        Ok(link)
    }

    /// Clears the media channel alone, and makes another beside the bridge, in which the caller talks with a person.
    async fn connect_apart(
        &mut self,
        seat: &mut Seat,
        events: &mut mpsc::Receiver<LegEvent>,
    ) -> Result<Link, CallError> {
        self.drop_media().await?;
        self.connect_media(seat, events).await
    }

    async fn drop_media(&mut self) -> Result<(), AriError> {
        self.dropped = true;
        ignore_gone(self.ari.channels().hangup(&self.media(), HangupReason::Normal).await)?;
        self.free(&self.media()).await;
        Ok(())
    }

    /// Waits until the id of a channel that was hung up is free again, which takes a moment.
    pub(super) async fn free(&self, channel: &ChannelId) {
        let deadline = Moment::now() + MEDIA_CHANNEL_PATIENCE;
        while Moment::now() < deadline && self.ari.channels().get(channel).await.is_ok() {
            tokio::time::sleep(OLD_CHANNEL_POLL).await;
        }
    }

    /// Makes media channel and bridge, and joins them.
    async fn make(
        &mut self,
        seat: &mut Seat,
        events: &mut mpsc::Receiver<LegEvent>,
    ) -> Result<Link, CallError> {
        let bridge = self.main_bridge();
        let mixing = CreateBridge { kind: Some("mixing".into()), ..CreateBridge::default() };
        let ari = self.ari.clone();
        let (link, made) =
            tokio::join!(self.connect_media(seat, events), ari.bridges().create(&bridge, &mixing));
        made?;
        let link = link?;
        ari.bridges().add_channel(&bridge, &self.media()).await?;
        Ok(link)
    }

    /// Makes the media channel; it is in the application when this comes back.
    async fn connect_media(
        &mut self,
        seat: &mut Seat,
        events: &mut mpsc::Receiver<LegEvent>,
    ) -> Result<Link, CallError> {
        let wanted = external_media(self.media(), &self.app, &self.plan, &seat.invitation());
        let media = self.ari.channels().external_media(&wanted).await?;
        self.peer_address = media.rtp_address();
        let link = link_to(&self.ari, seat, &media).await?;
        // Asterisk refuses a channel that is not yet in the application: one call in seven, unless we wait.
        let ready = async {
            loop {
                match until(events, LegEvent::MediaReady).await {
                    // That was the one before it.
                    Err(CallError::Gone(Gone::MediaLost)) if self.dropped => {}
                    other => return other,
                }
            }
        };
        tokio::time::timeout(MEDIA_CHANNEL_PATIENCE, ready)
            .await
            .map_err(|_| CallError::MediaChannelLate(MEDIA_CHANNEL_PATIENCE))??;
        Ok(link)
    }

    /// What the caller's channel is reached by.
    pub(super) fn caller(&self) -> (&Ari, &ChannelId) {
        (&self.ari, &self.channel)
    }

    pub(super) fn person(&self) -> ChannelId {
        ChannelId::from(&self.id(Part::Person))
    }

    pub(super) fn media(&self) -> ChannelId {
        ChannelId::from(&self.id(Part::Media))
    }

    pub(super) fn main_bridge(&self) -> BridgeId {
        BridgeId::from(&self.id(Part::Bridge))
    }

    pub(super) fn consult_bridge(&self) -> BridgeId {
        BridgeId::from(&self.id(Part::Consult))
    }

    pub(super) fn id(&self, part: Part) -> OurId {
        OurId { app: self.app.clone(), call: self.call, part }
    }

    /// The Stasis application.
    #[must_use]
    pub fn app(&self) -> &str {
        &self.app
    }

    /// The caller's channel.
    #[must_use]
    pub fn channel(&self) -> &str {
        self.channel.as_str()
    }

    /// The media channel.
    #[must_use]
    pub fn media_channel(&self) -> String {
        self.id(Part::Media).to_string()
    }

    /// The bridge.
    #[must_use]
    pub fn bridge(&self) -> String {
        self.id(Part::Bridge).to_string()
    }

    /// Where Asterisk sends the caller's audio.
    #[must_use]
    pub fn our_address(&self) -> SocketAddr {
        self.our_address
    }

    /// Where the caller's audio comes from over RTP, and where the bot's goes; [`None`] on other transports.
    #[must_use]
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.peer_address
    }

    /// By what the audio comes, and how it is coded.
    #[must_use]
    pub fn media_plan(&self) -> &MediaPlan {
        &self.plan
    }

    /// Answers.
    ///
    /// # Errors
    /// When the channel is gone or Asterisk does not answer.
    pub async fn answer(&self) -> Result<(), AriError> {
        self.ari.channels().answer(&self.channel).await
    }

    /// Hangs the caller up; one who is gone is no error.
    ///
    /// # Errors
    /// When Asterisk does not answer.
    pub async fn hang_up(&mut self, reason: HangupReason) -> Result<(), AriError> {
        self.released = true;
        ignore_gone(self.ari.channels().hangup(&self.channel, reason).await)
    }

    /// Gives the caller back to the dialplan, with variables set first.
    ///
    /// # Errors
    /// When the channel is gone or Asterisk refuses.
    pub async fn leave(
        &mut self,
        place: Option<&DialplanPlace>,
        variables: &[(String, String)],
    ) -> Result<(), AriError> {
        for (name, value) in variables {
            self.ari.channels().set_var(&self.channel, name, value).await?;
        }
        let at = place.map_or_else(Continue::default, |place| Continue {
            context: place.context.clone(),
            extension: place.extension.clone(),
            priority: place.priority,
            label: None,
        });
        self.ari.channels().continue_in_dialplan(&self.channel, &at).await?;
        self.released = true;
        Ok(())
    }

    /// Takes down what is ours and leaves the caller where he is.
    pub async fn abandon(mut self) {
        self.released = true;
        self.clear().await;
    }

    /// Takes down what another process may have left of a call beside the caller's channel. Never fails, as [`clear`](Self::clear).
    pub async fn clear_rest(ari: &Ari, app: &str, call: CallId) {
        let id = |part| OurId { app: app.to_owned(), call, part };
        let (media, bridge) = (ChannelId::from(&id(Part::Media)), BridgeId::from(&id(Part::Bridge)));
        let (channels, bridges) = (ari.channels(), ari.bridges());
        let (media, bridge) =
            tokio::join!(channels.hangup(&media, HangupReason::Normal), bridges.destroy(&bridge));
        report(call, "removing the media channel", ignore_gone(media));
        report(call, "removing the bridge", ignore_gone(bridge));
    }

    /// Takes everything down that is still there. Never fails: what Asterisk does not let go now is found at the next
    /// start.
    pub async fn clear(mut self) {
        if !self.released {
            let hung_up = self.hang_up(HangupReason::Normal).await;
            report(self.call, "hanging the caller up", hung_up);
        }
        Self::clear_rest(&self.ari, &self.app, self.call).await;
        if self.beside {
            self.clear_beside().await;
        }
    }
}

/// The media channel that Asterisk is to make for a seat's invitation.
#[must_use]
pub fn external_media(id: ChannelId, app: &str, plan: &MediaPlan, invitation: &Invitation) -> ExternalMedia {
    let format = plan.format.name();
    match invitation {
        Invitation::Rtp { address } => ExternalMedia::rtp(id, app, *address, format),
        Invitation::AudioSocket { address, uuid } => {
            ExternalMedia::audiosocket(id, app, *address, uuid, format)
        }
        Invitation::WebSocket => ExternalMedia::websocket_served(id, app, format),
        Invitation::WebSocketServer { secret, .. } => {
            let client = plan.websocket_client.as_str();
            ExternalMedia::websocket_dialled(id, app, client, (SECRET, secret), format)
        }
    }
}

/// What the audio of a media channel comes by, once Asterisk has made it.
///
/// # Errors
/// When Asterisk named no address, did not connect, or could not be connected to.
pub async fn link_to(ari: &Ari, seat: &mut Seat, media: &Channel) -> Result<Link, CallError> {
    match seat.invitation() {
        Invitation::Rtp { .. } => Ok(seat.link(media.rtp_address().ok_or(CallError::NoMediaAddress)?)),
        Invitation::AudioSocket { .. } | Invitation::WebSocketServer { .. } => {
            Ok(seat.connected(CONNECTION_PATIENCE).await?)
        }
        Invitation::WebSocket => {
            let connection = media.websocket_connection().ok_or(CallError::NoMediaAddress)?;
            let way = ari.media_socket(connection);
            let to = Dial {
                host: way.host,
                port: way.port,
                tls: way.tls,
                path: way.path,
                authorization: way.authorization,
            };
            Ok(dial(&to).await?)
        }
    }
}

pub(super) fn ignore_gone(result: Result<(), AriError>) -> Result<(), AriError> {
    match result {
        Err(error) if error.is_gone() => Ok(()),
        other => other,
    }
}

fn report(call: CallId, what: &str, result: Result<(), AriError>) {
    if let Err(error) = result {
        tracing::warn!(%call, %error, "{what} failed; it will be cleared at the next start");
    }
}
