"""Waiting until a challenge stands where the CA will look, in the one order that does no harm.

First the DNS provider's own signal, then every address of every authoritative nameserver, then the
resolvers. No resolver is asked for the challenge before the authorities have it: it would keep
"not there" for as long as the zone's SOA says (RFC 2308).
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, TypeVar

import dns.rdatatype

from distributor.clients.dns_answers import (
    Found,
    Place,
    Seen,
    Verdict,
    Zone,
    judge,
    merely_dead,
    old_copies,
    read_cached_txt,
    read_serial,
    read_txt,
    shown,
    unasked,
)
from distributor.clients.dns_queries import Asked, Authority, Recursive, at_once, question
from distributor.model.errors import DnsRefused, PropagationTimeout

log = logging.getLogger(__name__)

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 10.0
UNHEARD: Final = timedelta(seconds=15)
"""How long nobody of a zone has to be heard before others are asked; a third of a short wait."""
PATIENCE_WITH_RESOLVERS: Final = timedelta(seconds=30)
"""How long resolvers are waited for at most once all authorities have the values.

A CA asks the authorities itself and uses no resolver of ours: the old answer of one hinders
nothing, and is told, not failed for. What resolvers may show beyond the authorities is a broken
delegation or signature.
"""

Progress = Callable[[str], None]
Signal = Callable[[], bool | None]
"""The DNS provider's own word on whether its change is done; None when it has no such word."""
One = TypeVar("One", bound=Asked)
Wanted = Mapping[str, tuple[str, ...]]
"""TXT values by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Propagation:
    """Who is asked, and how time passes."""

    resolvers: Sequence[Recursive]
    doh: Sequence[Asked] = ()
    """DNS over HTTPS, asked instead of authorities of which none can be reached."""
    sleep: Callable[[float], None]
    now: Callable[[], datetime]

    def wait(
        self,
        wanted: Wanted,
        authorities: Mapping[str, Sequence[Authority]],
        timeout: timedelta,
        progress: Progress,
        signal: Signal,
    ) -> None:
        """Wait until every value of `wanted` is proved to stand.

        Where no authority of a name can be asked, the provider's signal is taken, else what DNS
        over HTTPS or the resolvers show; `progress` hears that this is weaker. Raises
        PropagationTimeout, naming who is slow and what it answers, after `timeout`. A dead address
        of a server that serves all at another one is then told of, and hinders nothing.
        """
        patience = _Patience(self.sleep, self.now, self.now() + timeout, progress)
        is_signalled = self._signalled(signal, timeout, patience)
        places = [(name, authority) for name in wanted for authority in authorities[name]]
        proof = _Proof(wanted, timeout, is_signalled)
        began = self.now()
        while True:
            proof.ask(places)
            verdict = proof.verdict()
            if verdict.unheard and self.now() - began >= min(UNHEARD, timeout / 3):
                self._ask_others(proof, verdict.unheard, progress)
                verdict = proof.verdict()
            if not verdict.late:
                break
            words = shown(verdict.late, proof.old_copies(verdict))
            if patience.is_over:
                dead = merely_dead(proof.seen, verdict.late)
                if dead != set(verdict.late):
                    raise _too_late(words, proof, verdict, dead)
                progress(_passed_over(words))
                break
            patience.pause(f"waiting for {words}")
        for server in unasked(proof.seen):
            progress(f"{server} was not asked: no route to it from here")
        served = {authority.address for _, authority in places}
        others = [one for one in self.resolvers if one.address not in served]
        self._hear_resolvers(
            {name: wanted[name] for name in wanted if name not in proof.vouched}, others, patience
        )

    def _signalled(self, signal: Signal, timeout: timedelta, patience: "_Patience") -> bool:
        while True:
            try:
                word = signal()
            except DnsRefused as error:
                # Its own word makes the proof quicker, and is none without the authorities'.
                patience.progress(
                    f"the DNS provider does not say whether it is done ({error.message}); "
                    "the nameservers will show it"
                )
                return False
            if word is None or word:
                return bool(word)
            if patience.is_over:
                raise PropagationTimeout(
                    f"after {timeout.total_seconds():g} s the DNS provider does not report the "
                    "challenge as published",
                    hint="raise `propagation_timeout`, or look at the provider's state",
                    step="propagation",
                )
            patience.pause("waiting for the DNS provider to report the challenge as published")

    def _ask_others(self, proof: "_Proof", names: Collection[str], progress: Progress) -> None:
        """Take the word of others for names of which no authority can be asked."""
        if proof.is_signalled:
            proof.vouched |= set(names)
            progress(_weaker(names, "the DNS provider reports the challenge as published"))
            return
        others: Sequence[Asked] = self.doh or self.resolvers
        for name in sorted(names):
            replies = _cached(name, proof.wanted[name], others)
            showing = [str(one) for one, seen in replies.items() if seen.found is Found.SERVED]
            proof.others[name] = "; ".join(
                f"{one}: {seen.words}"
                for one, seen in replies.items()
                if seen.found is not Found.SERVED
            )
            if showing and all(
                seen.found in {Found.SERVED, Found.SILENT, Found.NO_ROUTE}
                for seen in replies.values()
            ):
                proof.vouched.add(name)
                progress(_weaker([name], f"{', '.join(showing)} shows the challenge"))

    def _hear_resolvers(
        self, wanted: Wanted, resolvers: Sequence[Recursive], patience: "_Patience"
    ) -> None:
        """Wait a little for resolvers that will show the values soon, and tell of the others."""
        ends = min(self.now() + PATIENCE_WITH_RESOLVERS, patience.ends)
        waiting = _Patience(self.sleep, self.now, ends, patience.progress)
        missing = {name: tuple(resolvers) for name in wanted} if resolvers else {}
        while missing:
            late: dict[str, tuple[Recursive, ...]] = {}
            words: list[str] = []
            for name, asked in missing.items():
                for one, seen in _cached(name, wanted[name], asked).items():
                    if seen.found is Found.SERVED:
                        continue
                    if seen.found is Found.LACKING and waiting.allows(seen.seconds):
                        late[name] = (*late.get(name, ()), one)
                        words.append(f"{one}: {seen.words}")
                    else:
                        waiting.progress(
                            f"{one} does not show {name} yet ({seen.words}); a CA asks the zone's "
                            "nameservers itself, and all of them have it"
                        )
            missing = late
            if missing:
                waiting.pause(f"waiting for {'; '.join(words)}")


@dataclass(slots=True)
class _Proof:
    """What is known so far."""

    wanted: Wanted
    timeout: timedelta
    is_signalled: bool
    seen: dict[Place, Seen] = field(default_factory=dict)
    vouched: set[str] = field(default_factory=set)
    """Names that stand by another's word than an authority's."""
    heard: set[str] = field(default_factory=set)
    """Names of which an authority answered once: it will again, and nobody takes its place."""
    others: dict[str, str] = field(default_factory=dict)
    """By name, what those answered last who were asked instead of the authorities."""

    def ask(self, places: Sequence[Place]) -> None:
        """Ask all places that are not seen to serve the values, at the same time."""

        def look(place: Place) -> Seen:
            name, authority = place
            answer = authority.ask(question(name, dns.rdatatype.TXT))
            return read_txt(answer, self.wanted[name])

        left = [
            one for one in places if one not in self.seen or self.seen[one].found != Found.SERVED
        ]
        self.seen |= dict(zip(left, at_once(look, left), strict=True))
        self.heard |= set(self.wanted) - judge(self.seen).unheard

    def verdict(self) -> Verdict:
        verdict = judge(
            {one: seen for one, seen in self.seen.items() if one[0] not in self.vouched}
        )
        return replace(verdict, unheard=verdict.unheard - self.heard)

    def old_copies(self, verdict: Verdict) -> dict[Authority, str]:
        """Compare the zones of late servers with those that serve the values already."""
        late = {name for (name, _), one in verdict.late.items() if one.found is Found.LACKING}
        asked = [
            (name, authority)
            for (name, authority), one in self.seen.items()
            if name in late and one.found in {Found.LACKING, Found.SERVED}
        ]

        def look(place: Place) -> Zone | None:
            name, authority = place
            return read_serial(authority.ask(question(name, dns.rdatatype.SOA)))

        found = zip(asked, at_once(look, asked), strict=True)
        return old_copies({place[1]: zone for place, zone in found if zone is not None})


@dataclass(slots=True)
class _Patience:
    """Pauses that grow, until a moment."""

    sleep: Callable[[float], None]
    now: Callable[[], datetime]
    ends: datetime
    progress: Progress
    next_pause: float = FIRST_PAUSE

    @property
    def left(self) -> float:
        return (self.ends - self.now()).total_seconds()

    @property
    def is_over(self) -> bool:
        return self.left <= 0

    def allows(self, seconds: float) -> bool:
        return not self.is_over and seconds <= self.left

    def pause(self, words: str) -> None:
        left = max(0.0, self.left)
        self.progress(f"{words}; {left:.0f} s left")
        self.sleep(min(self.next_pause, left))
        self.next_pause = min(self.next_pause * 1.5, LONGEST_PAUSE)


def _cached(name: str, values: Sequence[str], asked: Sequence[One]) -> dict[One, Seen]:
    def look(one: One) -> Seen:
        return read_cached_txt(one.ask(question(name, dns.rdatatype.TXT, recursive=True)), values)

    return dict(zip(asked, at_once(look, asked), strict=True))


def _weaker(names: Collection[str], proof: str) -> str:
    return (
        f"no nameserver of {', '.join(sorted(names))} can be asked from here, port 53 may be "
        f"closed; {proof}, which is a weaker proof than every nameserver's own answer"
    )


def _passed_over(words: str) -> str:
    return (
        f"{words}; the same server serves the challenge at another address, so it goes on, but the "
        "CA may meet the dead one too: repair that address, or take it out of DNS"
    )


def _too_late(
    words: str, proof: _Proof, verdict: Verdict, dead: Collection[Place]
) -> PropagationTimeout:
    found = {one.found for place, one in verdict.late.items() if place not in dead}
    if verdict.unheard:
        hint = (
            "open port 53 (UDP and TCP) to these nameservers, or set `doh` (DNS over HTTPS) or "
            "`resolvers` in [dns.NAME]"
        )
        words = "; ".join([words, *filter(None, proof.others.values())])
    elif Found.LAME in found:
        hint = "repair that nameserver, or take it out of the zone's NS records or `nameservers`"
    elif Found.SILENT in found:
        hint = "set `nameservers` in [dns.NAME] to those that answer, or repair it"
    else:
        hint = "raise `propagation_timeout`, or look at that nameserver"
    return PropagationTimeout(
        f"after {proof.timeout.total_seconds():g} s the challenge is not served everywhere: "
        f"{words}",
        hint=hint,
        step="propagation",
    )
