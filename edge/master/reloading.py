"""
``HUP``: another configuration, or other certificates, without losing a request.

What a reload does is decided by what has changed. Nothing or certificates only: the same workers go on; new keys reach
them as memfds. Anything else: a new generation is born beside the old one, which is not asked to leave before the
new one is complete. A configuration that cannot be used, a socket that cannot be opened, a generation that cannot
start: nothing has changed, and the log and systemd's status say why.
"""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from edge.config.diff import diff
from edge.config.schema import Change
from edge.listen.bind import CannotListen
from edge.master import plan, regime
from edge.master.plan import Stop
from edge.observe import error_log
from edge.share.channel import Word
from edge.tls.certificates import Unusable

if TYPE_CHECKING:
    from edge.config.tree import Config
    from edge.master.desk import Desk
    from edge.master.roster import Child

_log = logging.getLogger("edge.master")


class Reloading:
    """
    What *desk* serves, and how that changes.

    Attributes:
        generations: the last number given to a generation; one that was given up keeps its number.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._renewing: set[int] = set()
        self._is_unannounced = False
        self.generations = desk.regime.generation

    def reload(self) -> None:
        """Read the configuration again and do what its changes need."""
        desk = self._desk
        desk.house.notifier.reloading(desk.clock.mono())
        desk.is_reloading = True
        desk.trouble = ""
        try:
            config, warnings = regime.read(desk.path, desk.readings)
            for warning in warnings:
                _log.warning("%s", warning)
            if diff(desk.regime.config, config) <= Change.CERTIFICATES and not self._has_new_files(config):
                self._renew_certificates(config)
            else:
                self._begin_generation(config)
        except (regime.Refused, CannotListen) as refused:
            reasons = refused.reasons if isinstance(refused, regime.Refused) else (str(refused),)
            for doubt in refused.warnings if isinstance(refused, regime.Refused) else ():
                _log.warning("%s", doubt)
            for reason in reasons:
                _log.error("reload refused, nothing changed: %s", reason)
            desk.end_reload(f"reload refused: {reasons[0]}")

    def reopen_logs(self) -> None:
        """Open the log files anew, here and in every child that writes to them."""
        desk = self._desk
        logs = desk.regime.logs
        try:
            logs.reopen()
        except OSError as error:
            _log.error("logs stay as they are: %s", error)
            return
        if "errors" in logs.fds:
            desk.house.error_log.replace(os.dup(logs.fds["errors"]))
        for child in desk.roster.children.values():
            if logs.fds and child.generation == desk.regime.generation:
                desk.house.say(child.pid, Word.REOPEN_LOGS, ",".join(logs.fds).encode(), logs.fds.values())
        _log.info("logs reopened")

    def _has_new_files(self, config: Config) -> bool:
        """
        Whether a file that an origin's TLS is made of, the operators' tokens, or a policy function's module has another content:
        workers keep what they began with.

        Raises:
            Refused: one cannot be used; nothing has changed.
        """
        try:
            if regime.read_operators(config) != self._desk.regime.operators:
                return True
            if regime.read_programs(config) != self._desk.regime.programs:
                return True
            return regime.read_credentials(config) != self._desk.regime.credentials
        except (ValueError, OSError) as error:
            raise regime.Refused(*str(error).splitlines()) from error

    # Certificates only.

    def _renew_certificates(self, config: Config) -> None:
        """
        Take over *config*, in which nothing that workers read has changed but certificates, and read those anew.

        The contexts here are renewed first, so that a worker forked later starts with what the others are sent.

        Raises:
            Refused: a certificate cannot be used; nothing has changed.
        """
        desk = self._desk
        try:
            news = desk.regime.tls.renew(config, readings=desk.readings) if desk.regime.tls else None
        except (Unusable, OSError) as error:
            raise regime.Refused(*str(error).splitlines()) from error
        before, after = desk.regime.config.server.pid_file, config.server.pid_file
        desk.regime.config = config
        if before != after:
            desk.move_pid_file(before, after)
        if news is None:
            what = (
                "nothing has changed"
                if before == after
                else f"nothing but the pid file, {after or 'there is none now'}"
            )
            _log.info("reloaded: %s", what)
        else:
            for child in desk.roster.workers():
                if child.stays and child.generation == desk.regime.generation:
                    desk.house.say(child.pid, Word.RELOAD_CERTS, news.payload, news.fds)
                    self._renewing.add(child.pid)
            news.close()
            _log.info("reloaded: certificates only, for %d workers", len(self._renewing))
        self._end_if_all_renewed()

    def renewed(self, child: Child, why_not: str) -> None:
        """Note that *child* uses the new certificates, or *why_not*: then it is renewed itself."""
        self._renewing.discard(child.pid)
        if why_not and child.generation == self._desk.wish.generation:
            _log.error("%s cannot use the new certificates; a new generation will: %s", child.name, why_not)
            self._renewing.clear()
            try:
                self._begin_generation(self._desk.regime.config)
            except (regime.Refused, CannotListen) as refused:
                self._desk.end_reload(f"reload failed: {refused}")
        else:
            self._end_if_all_renewed()

    def died(self, pid: int) -> None:
        """Note that nobody waits for this one any more: whoever replaces it was born with the new certificates."""
        if pid in self._renewing:
            self._renewing.discard(pid)
            self._end_if_all_renewed()

    def _end_if_all_renewed(self) -> None:
        if not self._renewing and self._desk.regime is self._desk.settled:
            self._desk.end_reload()

    # A new generation.

    def _begin_generation(self, config: Config) -> None:
        """
        Wish for a generation that serves *config*.

        Raises:
            Refused, CannotListen: nothing has changed.
        """
        desk = self._desk
        wanted, most = config.server.worker_count, desk.house.most_places
        if wanted > most:
            raise regime.Refused(f"{wanted} workers are more than the {most} this master has room for; USR2 makes room")
        fresh = regime.make(
            self.generations + 1, config, desk.regime.origin_blocks, desk.regime.route_blocks, desk.readings
        )
        try:
            desk.house.open(fresh)
        except CannotListen:
            fresh.logs.close()
            raise
        if desk.regime is not desk.settled:  # an earlier reload, overtaken by this one
            desk.regime.logs.close()
        self.generations = fresh.generation
        self._wish_for(fresh)
        _log.info("generation %d begins", fresh.generation)

    def _wish_for(self, wished: regime.Regime) -> None:
        desk = self._desk
        desk.regime = wished
        desk.setbacks.forget()
        desk.wish = replace(desk.wish_for(wished), spare_until=desk.wish.spare_until)

    def settle(self) -> None:
        """Note that the wished generation is complete: it is the one to return to."""
        desk = self._desk
        before, desk.settled = desk.settled, desk.regime
        config = desk.regime.config
        desk.wish = replace(desk.wish, settled=desk.regime.generation)
        desk.house.listening.close_except(desk.regime.addresses)
        if before is not None:
            before.logs.close()
            if before.config.server.pid_file != config.server.pid_file:
                desk.move_pid_file(before.config.server.pid_file, None)
            if before.config.log != config.log:
                fd = desk.regime.logs.fds.get("errors")
                desk.house.error_log = error_log.set_up(
                    config.log.errors, level=config.log.level, fd=None if fd is None else os.dup(fd)
                )
        self._is_unannounced = True
        _log.info("generation %d is complete: %d workers", desk.regime.generation, desk.wish.places)

    def is_news(self) -> bool:
        """Whether, now and for the first time, only the settled generation takes connections: others should know."""
        desk = self._desk
        olds = any(child.stays and child.generation != desk.wish.generation for child in desk.roster.workers())
        is_news = self._is_unannounced and desk.regime is desk.settled and not olds
        self._is_unannounced = self._is_unannounced and not is_news
        return is_news

    def give_up(self, step: plan.GiveUp) -> None:
        """The wished generation cannot start: return to the one before it, or end if there is none."""
        desk = self._desk
        sentence = (
            f"worker {step.place} died {plan.BOOT_LIMIT} times before it was ready; "
            f"the last time: {step.why or 'no reason known'}"
        )
        if desk.settled is None:
            _log.critical("giving up: %s", sentence)
            desk.house.notifier.status(f"giving up: {sentence}")
            desk.exit_code = 1
            desk.stop(Stop.NOW)
            return
        failed = desk.regime
        self._wish_for(desk.settled)
        failed.logs.close()
        desk.house.listening.close_except(desk.regime.addresses)
        _log.error(
            "generation %d is given up, generation %d goes on: %s", failed.generation, desk.regime.generation, sentence
        )
        desk.end_reload(f"reload failed: {sentence}")
