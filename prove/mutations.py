"""The mutants: one accident each, as a small exact change of the sources, and what must catch it.

A mutant that survives shows a hole in the tests. One that no longer applies says nothing at all,
and is a failure too: the code has moved on, and the mutant has to move with it.
"""

from __future__ import annotations

from typing import NamedTuple


class Change(NamedTuple):
    """In this file, this text, which is there once, becomes that."""

    file: str
    old: str
    new: str


class Mutant(NamedTuple):
    """`caught_by`: the tests that are run, or the SIMULATOR; one of them must fail."""

    name: str
    accident: str
    changes: tuple[Change, ...]
    caught_by: tuple[str, ...]


#: a few thousand events of simulated worlds, which compare the core with sums of their own
SIMULATOR = "simulator"
CORE, STORE, DAEMON = "agentwatch/core/", "agentwatch/store/", "agentwatch/daemon/"


def one(name: str, accident: str, file: str, old: str, new: str, *caught_by: str) -> Mutant:
    """A mutant of one change."""
    return Mutant(name, accident, (Change(file, old, new),), caught_by)


MUTANTS = (
    Mutant(
        "check_then_add",
        "the balance is read, the loop goes on, and the hold is added to what was read",
        (
            Change(
                CORE + "ledger.py",
                "admit(quote, self.purses(session, charged), policy",
                "admit(quote, self.__dict__.pop(hold_id), policy",
            ),
            Change(
                DAEMON + "governor.py",
                "        self._check_journal(session)\n        verdict",
                "        ledger = self.store.ledger\n"
                "        ledger.__dict__[hold_id] = ledger.purses(session, charged)\n"
                "        await asyncio.sleep(0)\n"
                "        self._check_journal(session)\n        verdict",
            ),
        ),
        ("tests/daemon/test_governor.py::test_two_calls_at_once_spend_the_last_money_twice",),
    ),
    one(
        "refund_on_crash",
        "what was out when the daemon died is given back, and the provider bills it",
        CORE + "ledger.py",
        'yield self.settle(hold.id, hold.nanos, "crash", at=at, reason=why)',
        "yield self.void(hold.id, why, at=at)",
        "tests/core/test_ledger.py::test_a_crash_gives_no_open_hold_back",
    ),
    one(
        "send_before_hold",
        "the request is sent while its hold is still on the way to the disk",
        DAEMON + "governor.py",
        "            await self._until_written(session, written)\n",
        "",
        "tests/daemon/test_governor.py::test_a_request_is_sent_before_its_hold_is_durable",
    ),
    one(
        "told_before_written",
        "the journal says that it is written, and writes it afterwards",
        STORE + "store.py",
        "        self._journal.append(batch, done)\n",
        "        queued.end(None)\n        self._journal.append(batch, done)\n",
        "tests/daemon/test_governor.py::test_a_request_is_sent_before_its_hold_is_durable",
    ),
    one(
        "normal_for_full",
        "a commit is acknowledged that a power cut takes back",
        STORE + "sqlite.py",
        '"power": "FULL"',
        '"power": "NORMAL"',
        "tests/store/test_sqlite.py::test_the_promise_of_durability_is_what_sqlite_is_told",
    ),
    one(
        "late_report_as_delta",
        "a late report of the whole cost is added to what was settled already",
        CORE + "ledger.py",
        "more = nanos - ended.nanos",
        "more = nanos",
        "tests/core/test_ledger.py::test_what_is_settled_never_falls_by_a_late_report",
    ),
    one(
        "late_report_lowers",
        "what is settled falls, because a later report says less",
        CORE + "ledger.py",
        'if more <= 0 or ended.basis == "void":',
        'if more == 0 or ended.basis == "void":',
        "tests/core/test_ledger.py::test_what_is_settled_never_falls_by_a_late_report",
    ),
    one(
        "usage_added_not_merged",
        "the reports of a stream, which are cumulative, are added up",
        "agentwatch/wire/anthropic_usage.py",
        "return {**first, **{key: value for key",
        "return {**first, **{key: value + first.get(key, 0) * isinstance(value, int) for key",
        "tests/wire/test_anthropic_messages.py",
        "tests/wire/test_anthropic_usage.py",
    ),
    one(
        "zero_on_disconnect",
        "who hangs up pays nothing for what was written until then",
        DAEMON + "relay.py",
        "            self._charge(flight, meter, unpack.blind)\n            raise\n",
        '            flight.void("hung up")\n            raise\n',
        "tests/daemon/test_relay.py::test_a_client_that_went_is_read_for_for_ever",
    ),
    one(
        "settled_twice",
        "a settle that is repeated is charged again",
        CORE + "ledger.py",
        "            return self.outcome(hold_id), []\n        entry = e.Settled(",
        "            for each in self.outcome(hold_id).accounts:\n"
        "                self.accounts[each].settled += nanos\n"
        "            return self.outcome(hold_id), []\n        entry = e.Settled(",
        "tests/core/test_ledger.py::test_a_call_is_ended_once_whatever_is_said_after",
    ),
    one(
        "except_exception",
        "a cancelled call goes past `except Exception`, and its hold stays for ever",
        DAEMON + "governor.py",
        "        finally:\n            flight.abandon()\n",
        "        except Exception:\n            flight.abandon()\n            raise\n"
        "        finally:\n",
        "tests/daemon/test_governor.py::test_a_kill_between_hold_and_sending_closes_the_line_without_a_word",
    ),
    one(
        "one_nano_over",
        "off by one at the ceiling, upwards",
        CORE + "admission.py",
        "whole <= free:",
        "whole <= free + 1:",
        "tests/core/test_admission.py::test_a_one_nano_short_is_not_enough_for_all_of_it",
    ),
    one(
        "equal_is_not_enough",
        "off by one at the ceiling, downwards: the last call is refused though it is paid for",
        CORE + "admission.py",
        "whole <= free:",
        "whole < free:",
        "tests/core/test_admission.py::test_a_equal_is_enough",
    ),
    one(
        "leak_on_second_refusal",
        "the session holds, its project refuses, and the session's hold is left behind",
        CORE + "ledger.py",
        "            session.refusals += 1\n",
        "            session.refusals += 1\n"
        "            session.held += verdict.nanos * (verdict.account != session.id)\n",
        "tests/core/test_ledger.py::test_held_on_all_accounts_or_on_none",
    ),
    one(
        "first_account_only",
        "a call is held on its session alone, and its project is overspent by many",
        CORE + "ledger.py",
        "                accounts=charged,\n                nanos=verdict.nanos,",
        "                accounts=charged[:1],\n                nanos=verdict.nanos,",
        "tests/core/test_ledger.py::test_a_budget_shared_by_sessions_is_not_spent_twice",
    ),
    one(
        "clock_as_identity",
        "two calls of one millisecond are one hold",
        STORE + "store.py",
        "{next(_counter) & 0xFFFF:04x}{next(_randoms)}",
        "",
        "tests/store/test_store.py::test_ten_thousand_ids_of_holds_are_all_different",
    ),
    one(
        "void_after_sending",
        "no answer came, so it is given back; the provider had begun",
        DAEMON + "relay.py",
        "        except Lost as error:\n            flight.settle_in_doubt(self._in_doubt)",
        '        except Lost as error:\n            flight.void("lost")',
        "tests/daemon/test_relay.py::test_lost_is_free",
    ),
    one(
        "our_own_failure_is_free",
        "a fault of ours after the sending gives the hold back",
        DAEMON + "flight.py",
        "        if self._left_at is not None:\n            self.settle_in_doubt",
        "        if False:\n            self.settle_in_doubt",
        "tests/daemon/test_flight.py::test_a_call_that_failed_in_the_daemon_is_free",
    ),
    one(
        "extension_not_counted",
        "a stream is given more, and its accounts do not hold it",
        CORE + "fold.py",
        "            self.accounts[account_id].held += entry.nanos\n\n    def _settled",
        "            self.accounts[account_id].held += 0\n\n    def _settled",
        "tests/core/test_fold.py::test_an_extended_hold_is_given_back_whole",
    ),
    one(
        "settle_cut_at_the_hold",
        "what a call cost above its hold is nobody's",
        CORE + "ledger.py",
        "            nanos=max(0, nanos),\n",
        "            nanos=min(max(0, nanos), hold.nanos),\n",
        "tests/core/test_ledger.py::test_a_settle_is_never_cut_and_never_below_nothing",
    ),
    one(
        "kill_forgotten",
        "a killed session serves again after a restart",
        STORE + "protocol.py",
        "            balances.add_session(session)\n",
        '            session.state = "active" if session.state == "killed" else session.state\n'
        "            balances.add_session(session)\n",
        "tests/store/test_store.py::test_a_kill_outlives_the_daemon",
    ),
    one(
        "ceiling_raised_by_opening",
        "an agent opens its own session again, with more money",
        CORE + "ledger.py",
        "known.ceiling is None or ceiling < known.ceiling",
        "known.ceiling is None or ceiling != known.ceiling",
        "tests/core/test_ledger.py::test_opening_again_never_raises_the_ceiling_nor_forgets_what_was_spent",
    ),
    one(
        "choices_for_nothing",
        "n=8 is estimated as one answer",
        CORE + "estimate.py",
        "per_token = choices * output_rate",
        "per_token = output_rate",
        "tests/core/test_estimate.py::test_every_choice_predicted_token_and_hosted_tool_is_in_the_worst_case",
    ),
    one(
        "rounded_down",
        "a part of a nano is given away with each call",
        CORE + "money.py",
        "return -(-scaled // TOKENS_PER_RATE)",
        "return scaled // TOKENS_PER_RATE",
        "tests/core/test_estimate.py::test_a_part_of_a_nano_is_charged_as_a_whole_one",
    ),
    one(
        "older_file_is_believed",
        "an older copy of the ledger is put back, and what was spent since is spent again",
        STORE + "sqlite.py",
        "if snapshot.seq < entries:",
        "if snapshot.seq < 0:",
        "tests/store/test_damage.py::test_an_older_copy_is_not_taken_for_the_ledger",
    ),
    one(
        "witness_stands_still",
        "the WAL is cut after a crash, and what it had is spent again",
        STORE + "sqlite.py",
        "        elif self._synced:\n",
        "        elif False:\n",
        "tests/store/test_bit_flips.py::test_a_wal_that_was_cut_or_removed_after_a_crash_is_told",
    ),
    one(
        "without_its_wal",
        "a sync fails as the file is opened; SQLite goes on in a mode that a power cut takes back",
        STORE + "sqlite.py",
        '        (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()\n',
        '        connection.execute("PRAGMA journal_mode=WAL")\n        mode = "wal"\n',
        "tests/store/test_power_cuts.py::"
        "test_whichever_write_or_sync_fails_nothing_acknowledged_is_lost[EIO-once]",
    ),
    one(
        "chain_not_checked",
        "an amount in the journal is changed, and nobody looks",
        STORE + "rows.py",
        "if following != seq + 1 or chained(before, data) != after:",
        "if following != seq + 1:",
        "tests/store/test_damage.py::test_a_damaged_ledger_is_set_aside_and_no_later_start_begins_anew",
    ),
    one(
        "only_one_account_asked",
        "the last account has the money, and the others are not looked at",
        CORE + "admission.py",
        "tightest = min(purses, key=_free)",
        "tightest = purses[-1]",
        SIMULATOR,
    ),
    one(
        "leak_on_second_end",
        "a call's end frees its session, and its project holds for ever",
        CORE + "fold.py",
        "for account_id in hold.accounts:\n            self.accounts[account_id].held -=",
        "for account_id in hold.accounts[:1]:\n            self.accounts[account_id].held -=",
        SIMULATOR,
    ),
    one(
        "hold_repeated_twice",
        "a hold that is asked for again is held again",
        CORE + "ledger.py",
        "return Admitted(again.nanos, again.limit), []",
        "return Admitted(again.nanos, again.limit), self._do("
        "e.Extended(at=at, hold=hold_id, nanos=again.nanos))",
        SIMULATOR,
    ),
    one(
        "extension_unasked",
        "a stream is given more without a look at its session's ceiling",
        CORE + "ledger.py",
        "if any(purse.free < nanos for purse in self.purses(session, hold.accounts)):",
        "if any(purse.free < nanos for purse in self.purses(session, hold.accounts[1:])):",
        SIMULATOR,
    ),
    one(
        "refused_instead_of_waiting",
        "a call is refused for which there will be money when its neighbours end",
        CORE + "admission.py",
        "if may_wait and not never and",
        "if False and may_wait and not never and",
        SIMULATOR,
    ),
    one(
        "cancellation_overlooked",
        "a stream that is cancelled is charged its whole hold, or nothing, but not what was seen",
        DAEMON + "relay.py",
        "except asyncio.CancelledError:\n            self._charge",
        "except Exception:\n            self._charge",
        "tests/daemon/test_relay.py",
    ),
)
