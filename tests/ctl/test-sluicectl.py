#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later

"""sluicectl against a daemon that only answers, on a bus of its own: what it prints, what it asks
for, and how it exits. Arguments: sluicectl, fake-sluiced."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import unittest

SLUICECTL, FAKE = sys.argv[1:3]

ENVIRONMENT = {
    'PATH': os.environ['PATH'],
    'LANG': 'C.UTF-8',
    'TZ': 'UTC',
    'HOME': '/nonexistent',
}
for name in ('ASAN_OPTIONS', 'UBSAN_OPTIONS', 'LSAN_OPTIONS'):
    if name in os.environ:
        ENVIRONMENT[name] = os.environ[name]


class Result:
    def __init__(self, status, out, err):
        self.status, self.raw, self.err = status, out, err.decode()

    @property
    def out(self):
        return self.raw.decode()


class SluicectlTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.bus = subprocess.Popen(
            ['dbus-daemon', '--session', '--nofork', '--print-address',
             f'--address=unix:path={cls.folder.name}/bus'],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        cls.address = cls.bus.stdout.readline().decode().strip()

    @classmethod
    def tearDownClass(cls):
        cls.bus.terminate()
        cls.bus.wait()
        cls.bus.stdout.close()
        cls.folder.cleanup()

    def setUp(self):
        self.socket = f'{self.folder.name}/direct'
        self.fake = subprocess.Popen([FAKE, self.socket], stdout=subprocess.PIPE, env={
            **ENVIRONMENT, 'DBUS_SESSION_BUS_ADDRESS': self.address})
        self.assertEqual(self.asked(), 'ready')

    def tearDown(self):
        self.fake.terminate()
        self.fake.wait()
        self.fake.stdout.close()
        os.unlink(self.socket)

    def asked(self):
        """The next call that the daemon got."""
        return self.fake.stdout.readline().decode().strip()

    def command(self, *arguments):
        return [SLUICECTL, f'--address={self.address}', *arguments]

    def run_raw(self, command, stdin=b'', env=None):
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=60,
                              env={**ENVIRONMENT, **(env or {})})
        return Result(done.returncode, done.stdout, done.stderr)

    def ctl(self, *arguments, stdin=b'', status=0):
        result = self.run_raw(self.command(*arguments), stdin)
        self.assertEqual(result.status, status, result.err)
        return result

    def on_terminal(self, columns, *arguments, env=None):
        """What it prints where standard output is a terminal of so many columns."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            self.command(*arguments), stdin=subprocess.DEVNULL, stdout=theirs,
            stderr=subprocess.DEVNULL,
            env={**ENVIRONMENT, 'TERM': 'xterm', 'COLUMNS': str(columns), **(env or {})})
        os.close(theirs)
        text = b''
        while True:
            try:
                more = os.read(ours, 65536)
            except OSError:
                break
            if not more:
                break
            text += more
        os.close(ours)
        self.assertEqual(process.wait(), 0)
        return text.decode().replace('\r\n', '\n')

    # How it is called

    def test_faults_of_the_command_line_name_what_was_expected_and_exit_2(self):
        rows = [
            (['pasue', 'x'], 'Unknown verb "pasue"; did you mean "pause"?'),
            (['zzz'], 'Unknown verb "zzz"; "sluicectl --help" lists them all.'),
            (['list', '--jsno=short'], 'Unknown option "--jsno"; did you mean --json?'),
            (['list', '--json=xml'], 'Bad value "xml" for --json; expected short, pretty or off.'),
            (['list', '--json'], 'Option --json needs a value: short, pretty or off.'),
            (['list', '--quiet=1'], 'Option --quiet takes no value.'),
            (['list', 'x'], 'Unexpected argument "x"; expected: sluicectl list'),
            (['pause'], 'Too few arguments; expected: sluicectl pause POOL…'),
            (['submit', 'echo', '--priority=5000'], 'expected a number from -1000 to 1000.'),
            (['submit', 'echo', '--delay=soon'], 'expected a time like 30s, 1min 30s or infinity.'),
            (['submit', 'a b'], '"a b" cannot be the name of a pool; expected 1 to 64 of'),
            (['submit', 'echo', '--data=x', '--file=y'], 'Expected only one source'),
            (['submit', 'echo', '-9'], 'What stands after "--" is never taken for an option.'),
            (['wait', '1', 'x'], '"x" is no job id; expected a number like 17.'),
            (['kick', 'gzip', '0'], '"0" is no number of jobs; expected a number from 1.'),
            (['kick', 'gzip', 'all'], '"all" is no number of jobs; expected a number from 1.'),
            (['submit', 'echo', '--max-attempts=0'], 'a number from 1 to 1000000'),
            (['cancel'], 'Expected job ids, or options that choose jobs such as --pool=.'),
            (['cancel', '1', '--pool=echo'], 'Expected either job ids or options'),
            (['jobs', '--state=runing'], 'Bad value "runing" for --state; did you mean running?'),
            (['jobs', '--result=x'], 'timed-out, expired, dropped, refused or lost.'),
            (['jobs', '--owner=no such'], 'there is no such user.'),
            (['jobs', '-n', '0'], 'Bad value "0" for --lines; expected a number from 1.'),
            (['create', 'pol', 'x'], 'Unknown kind "pol"; expected pool, pipeline, limiter or breaker.'),
            (['acquire', 'l', '0'], '"0" is no number of tokens; expected one from 1.'),
            (['acquire', 'pool/l'], '"pool/l" is no limiter.'),
            (['set', 'gzip', 'MaxWorkers'], '"MaxWorkers" is no setting; expected KEY=VALUE'),
            (['--user', 'list'], 'Only one of --system, --user and --address= can be given.'),
        ]
        for arguments, expected in rows:
            with self.subTest(arguments):
                result = self.ctl(*arguments, status=2)
                self.assertIn(expected, result.err)
                self.assertEqual(result.raw, b'')

    def test_help_of_every_verb_has_its_options_and_an_example(self):
        overview = self.ctl('--help').out
        verbs = re.findall(r'^  ([a-z]+) ', overview, re.M)
        self.assertEqual(sorted(verbs), sorted(
            'acquire trip reset list status submit run map jobs wait result cancel pause resume drain '
            'clear kick set create '
            'remove cat reload monitor check help'.split()))
        self.assertLessEqual(max(map(len, overview.splitlines())), 80)
        for verb in verbs:
            text = self.ctl(verb, '--help').out
            self.assertTrue(text.startswith(f'sluicectl {verb} [OPTION…]'), text)
            self.assertIn('\nExample:\n  sluicectl ', text)
            body = text[:text.index('\nExample:')]
            self.assertLessEqual(max(map(len, body.splitlines())), 80, text)

    def test_help_is_a_verb_as_well(self):
        self.assertEqual(self.ctl('help').out, self.ctl('--help').out)
        self.assertEqual(self.ctl('help', 'map').out, self.ctl('map', '--help').out)
        self.assertIn('did you mean "map"?', self.ctl('help', 'mpa', status=2).err)

    def test_global_options_stand_before_or_after_the_verb(self):
        self.assertEqual(self.ctl('--json=short', 'list').out,
                         self.ctl('list', '--json', 'short').out)

    def test_version_needs_no_daemon(self):
        result = self.run_raw([SLUICECTL, '--version'])
        self.assertEqual(result.status, 0)
        self.assertRegex(result.out, r'^sluicectl \d+\.\d+')

    # Where the daemon is

    def test_daemon_that_cannot_be_reached_is_no_object_that_is_not_there(self):
        for verb in ['status', 'x'], ['set', 'x', 'Rate=1/s'], ['cat', 'x']:
            result = self.run_raw([SLUICECTL, '--address=/nonexistent/bus', *verb])
            self.assertEqual(result.status, 1)
            self.assertEqual(result.err.count('Failed'), 1, result.err)
            self.assertNotIn('NotFound', result.err)

    def test_socket_is_found_whatever_characters_its_name_has(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'a b%41,ä;=')
            os.symlink(self.socket, path)
            result = self.run_raw([SLUICECTL, '--address=' + path, 'list'])
            self.assertEqual((result.status, result.err), (0, ''))

    def test_daemon_that_cannot_be_reached_brings_advice(self):
        result = self.run_raw([SLUICECTL, '--address=/nonexistent/bus', 'list'])
        self.assertEqual(result.status, 1)
        self.assertIn('Failed to connect to /nonexistent/bus: No such file or directory',
                      result.err)
        self.assertIn('systemctl start sluiced', result.err)

    def test_bus_without_the_daemon_brings_advice(self):
        self.fake.terminate()
        self.fake.wait()
        result = self.ctl('list', status=1)
        self.assertIn('Failed to list the pools: sluiced is not running (ServiceUnknown)',
                      result.err)
        self.assertIn('systemctl start sluiced', result.err)

    def test_address_comes_from_the_environment(self):
        result = self.run_raw([SLUICECTL], env={'SLUICE_ADDRESS': self.address})
        self.assertEqual(result.status, 0, result.err)
        self.assertIn('gzip', result.out)

    def test_address_may_be_a_socket_path(self):
        result = self.run_raw([SLUICECTL, '--address', f'{self.folder.name}/bus', 'list'])
        self.assertEqual(result.status, 0, result.err)

    def test_user_is_the_session_bus(self):
        result = self.run_raw([SLUICECTL, '--user'], env={'DBUS_SESSION_BUS_ADDRESS': self.address})
        self.assertEqual(result.status, 0, result.err)

    def test_no_start_starts_nothing(self):
        env = {'DBUS_SESSION_BUS_ADDRESS': self.address}
        result = self.run_raw([SLUICECTL, '--user', '--no-start'], env=env)
        self.assertEqual(result.status, 0, result.err)

        with tempfile.TemporaryDirectory() as folder:
            started = f'{folder}/started'
            os.makedirs(f'{folder}/dbus-1/services')
            with open(f'{folder}/dbus-1/services/org.sluice1.service', 'w') as f:
                f.write(f'[D-BUS Service]\nName=org.sluice1\nExec=/usr/bin/touch {started}\n')
            bus = subprocess.Popen(
                ['dbus-daemon', '--session', '--nofork', '--print-address',
                 f'--address=unix:path={folder}/bus'],
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                env={**ENVIRONMENT, 'XDG_DATA_HOME': folder})
            env = {'DBUS_SESSION_BUS_ADDRESS': bus.stdout.readline().decode().strip()}
            result = self.run_raw([SLUICECTL, '--user', '--no-start'], env=env)
            self.assertEqual(result.status, 1)
            self.assertEqual(result.err, 'Failed to reach sluiced: it is not running\n')
            self.assertFalse(os.path.exists(started))
            self.run_raw([SLUICECTL, '--user'], env=env)
            self.assertTrue(os.path.exists(started))
            bus.terminate()
            bus.wait()
            bus.stdout.close()

    def direct(self, *arguments, stdin=b''):
        result = self.run_raw([SLUICECTL, f'--address={self.socket}', *arguments], stdin)
        self.assertEqual(result.status, 0, result.err)
        return result

    def test_socket_of_the_daemon_itself_works_as_a_bus_does(self):
        self.assertIn('gzip', self.direct('list').out)
        self.assertEqual(self.direct('run', 'gzip', stdin=b'x' * 9000).raw, b'X' * 9000)
        self.assertEqual(self.asked(), 'Submit gzip 9000 OutputFd=h BindToClient=b:1')
        self.direct('submit', 'echo', stdin=b'x' * 100000)
        self.assertEqual(self.asked(), 'SubmitFd echo 100000')
        self.assertEqual(self.direct('submit', 'echo', '--notify').out,
                         '3\n3 started\n3 succeeded after 1.25ms\n')

    def test_socket_of_the_daemon_itself_is_found_where_the_bus_has_no_daemon(self):
        os.mkdir(f'{self.folder.name}/sluice')
        os.link(self.socket, f'{self.folder.name}/sluice/bus')
        env = {'XDG_RUNTIME_DIR': self.folder.name,
               'DBUS_SESSION_BUS_ADDRESS': 'unix:path=/nonexistent'}
        result = self.run_raw([SLUICECTL, '--user', 'list'], env=env)
        self.assertEqual(result.status, 0, result.err)
        os.unlink(f'{self.folder.name}/sluice/bus')
        os.rmdir(f'{self.folder.name}/sluice')

    # Looking

    def test_list_is_the_default_verb_and_a_table(self):
        result = self.ctl()
        lines = result.out.splitlines()
        self.assertEqual(lines[0].split(), ['NAME', 'STATE', 'QUEUED', 'RUNNING', 'WORKERS'])
        self.assertEqual(lines[1].split(), ['gzip', 'running', '12', '3', '4'])
        self.assertEqual(lines[4:], [
            '',
            'LIMITER  RATE  TOKENS  BURST  WAITERS',
            'api      50/s      12     60        2',
            'gzip     50/s      12     60        2',
            '',
            'BREAKER  STATE  MODE  FAILURES  TRIPS',
            'api      open   auto         5      1',
            'db       open   auto         5      1',
            '',
            '3 pools, 2 limiters, 2 breakers listed.'])
        self.assertNotIn('\x1b', result.out)

    def test_list_without_legend_has_only_rows_of_pools(self):
        self.assertEqual(len(self.ctl('list', '--no-legend').out.splitlines()), 3)

    def test_list_as_json_has_all_that_the_tables_have(self):
        for mode in 'short', 'pretty':
            rows = json.loads(self.ctl('list', f'--json={mode}').out)
            self.assertEqual(rows[0], {
                'Kind': 'pool', 'Name': 'gzip', 'Path': '/org/sluice1/pool/gzip', 'State': 'running', 'Queued': 12,
                'Running': 3, 'Workers': 4})
            self.assertEqual([f"{row['Kind']} {row['Name']}" for row in rows[3:]],
                             ['limiter api', 'limiter gzip', 'breaker api', 'breaker db'])
            self.assertEqual(rows[3]['Path'], '/org/sluice1/limiter/api')
            self.assertEqual(rows[3]['Burst'], 60)

    def test_table_fits_the_terminal(self):
        for columns in 60, 80:
            text = self.on_terminal(columns, 'list', env={'NO_COLOR': '1', 'LINES': '50'})
            self.assertEqual(max(map(len, text.splitlines())), columns)
            self.assertIn('…', text)

    def test_colour_is_only_for_terminals_that_want_it(self):
        self.assertIn('\x1b[0;1;32mrunning\x1b[0m', self.on_terminal(80, 'list'))
        for env in {'NO_COLOR': '1'}, {'TERM': 'dumb'}:
            self.assertNotIn('\x1b', self.on_terminal(80, 'list', env=env))

    def test_long_table_on_a_terminal_goes_through_the_pager(self):
        env = {'SLUICE_PAGER': 'sed "s/^/> /"', 'LINES': '24'}
        self.assertTrue(self.on_terminal(80, 'jobs', '-n', '50', env=env).startswith('> '))
        self.assertFalse(self.on_terminal(80, 'list', env=env).startswith('> '))
        text = self.on_terminal(80, 'jobs', '-n', '50', '--no-pager', env=env)
        self.assertFalse(text.startswith('> '))

    def test_status_shows_the_daemon(self):
        text = self.ctl('status').out
        self.assertIn('● sluiced 9.9\n', text)
        self.assertIn('Now: 3 pools, 12 jobs queued, 3 running\n', text)
        self.assertIn('Sun 2001-09-09 01:46:40 UTC; ', text)

    def test_status_shows_a_pool_in_human_terms(self):
        text = self.ctl('status', 'gzip').out
        self.assertIn('Workers: 3 of 4 busy, 2 to 4 allowed, on CPUs 0-3,6\n', text)
        self.assertIn('Queue: 12 of 1024, 1 scheduled, 3 running, overflow reject\n', text)
        self.assertIn('Jobs: 1016 submitted, 990 succeeded, 8 failed, 2 timed out, 5 dropped, '
                      '6 rejected, 7 retried\n', text)
        self.assertIn('Ran: p50 31us, p95 1.25ms, p99 20.5ms, max 2min 5s\n', text)
        self.assertIn('run timeout 30min, 3 attempts\n', text)
        self.assertIn('Waits: the limiter has no token (rate)\n', text)
        self.assertIn('Limiter: 12 of 60 tokens, 50/s, 2 in line, 1000 granted, 9 denied\n', text)
        self.assertIn('Breaker: api: open, retry in 12s, mode auto, 5 failed in a row, 1 trip\n',
                      text)
        self.assertIn('Batch: up to 16 jobs, timeout 250ms, 62 done\n',
                      self.ctl('status', 'batch').out)
        self.assertIn('Scale: by queue, up above 10 per worker, down below 2, every 5s\n', text)

    def test_status_does_not_show_what_a_pool_does_not_have(self):
        text = self.ctl('status', 'echo').out
        for label in 'Waits', 'Limiter', 'Breaker', 'Batch', 'Scale':
            self.assertNotIn(f' {label}: ', text)

    def test_status_of_a_pool_fits_the_terminal(self):
        text = self.on_terminal(50, 'status', 'gzip', env={'NO_COLOR': '1'})
        self.assertLessEqual(max(map(len, text.splitlines())), 50)
        self.assertIn('   Breaker: api: open, retry in 12s, mode auto, 5\n'
                      '            failed in a row, 1 trip\n', text)
        self.assertIn('   Breaker: api: \x1b[0;1;31mopen\x1b[0m, retry in 12s, mode auto, 5\n',
                      self.on_terminal(50, 'status', 'gzip'))

    def test_bare_name_is_that_of_a_pool_else_of_a_limiter_else_of_a_breaker(self):
        rows = [
            ('gzip', '● gzip - Compress'),
            ('limiter/gzip', '● limiter gzip\n'),
            ('gzip.limiter', '● limiter gzip\n'),
            ('api', '● limiter api\n      Rate: 50/s\n    Tokens: 12 of 60, 2 in line\n'
                    '     Asked: 1000 granted, 9 denied\n'),
            ('api.breaker', '● breaker api\n'),
            ('db', '● breaker db\n     State: open, retry in 12s\n      Mode: auto\n'
                   '     Calls: 0 in flight, 5 failed in a row, 1 trip\n'),
        ]
        for word, begin in rows:
            with self.subTest(word):
                self.assertTrue(self.ctl('status', word).out.startswith(begin))
        both = json.loads(self.ctl('status', 'api', 'db', '--json=short').out)
        self.assertEqual([both[0]['Burst'], both[1]['State']], [60, 'open'])

    def test_status_of_a_running_job_says_for_how_long_so_far(self):
        self.ctl('submit', 'echo', '--tag=hang')
        self.assertIn('Attempt: 1, for 1.25ms so far\n', self.ctl('status', '1').out)

    def test_status_of_a_job_that_waits_again_says_how_long_the_last_attempt_took(self):
        self.ctl('submit', 'echo', '--tag=again')
        self.assertIn('Attempt: 1, took 1.25ms\n', self.ctl('status', '1').out)

    def test_text_of_others_cannot_drive_the_terminal(self):
        self.assertIn('● gzip - Compress ?[2Jman pages\n', self.ctl('status', 'gzip').out)

    def test_status_as_json_has_the_properties(self):
        pool = json.loads(self.ctl('status', 'pool/gzip', '--json=short').out)
        self.assertEqual(pool['CPUAffinity'], [0, 1, 2, 3, 6])
        self.assertEqual(pool['QueueWaitUSec'], [31, 1250, 20500, 125000000])
        self.assertEqual(len(json.loads(self.ctl('status', 'gzip', 'echo', '--json=short').out)), 2)

    def test_status_of_a_number_is_a_job(self):
        self.ctl('submit', 'echo', '--tag=nightly')
        text = self.ctl('status', '1').out
        self.assertIn('● job 1 - echo\n', text)
        self.assertIn('State: succeeded\n', text)
        self.assertIn('Tag: nightly\n', text)
        self.assertIn('took 1.25ms\n', text)

    def test_status_of_a_failed_job_says_why(self):
        self.ctl('submit', 'echo', '7')
        text = self.ctl('status', 'job/1').out
        self.assertIn('State: failed, exit status 7\n', text)
        self.assertIn('Error: exit status 7\n            gzip: bad ?[31minput\n', text)

    def test_what_does_not_exist_is_said_in_one_line(self):
        self.assertEqual(self.ctl('status', 'nope', status=1).err,
                         'Failed to find "nope": there is no pool, pipeline, limiter or breaker of that name '
                         '(NotFound)\n')
        self.assertEqual(self.ctl('set', 'nope', 'Rate=1/s', status=1).err,
                         'Failed to find "nope": there is no pool, pipeline, limiter or breaker of that name '
                         '(NotFound)\n')
        for kind in 'pool', 'limiter', 'breaker':
            self.assertEqual(
                self.ctl('status', f'{kind}/nope', status=1).err,
                f'Failed to get the state of {kind} "nope": no such {kind} (NotFound)\n')
        self.assertEqual(self.ctl('status', '77', status=1).err,
                         'Failed to get the state of job 77: no such job (NotFound)\n')
        self.assertEqual(self.ctl('wait', '77', status=1).err,
                         'Failed to wait for job 77: No such job (NotFound)\n')

    def test_jobs_are_fetched_page_by_page(self):
        jobs = json.loads(self.ctl('jobs', '--json=short').out)
        self.assertEqual([j['Id'] for j in jobs], list(range(1, 2501)))
        self.assertEqual([self.asked() for _ in range(3)], ['ListJobs'] * 3)

    def test_jobs_stop_at_the_number_asked_for(self):
        result = self.ctl('jobs', '-n', '1001', '--no-legend')
        self.assertEqual(len(result.out.splitlines()), 1001)
        self.assertIn('There may be more', result.err)

    def test_filters_of_jobs_reach_the_daemon(self):
        self.ctl('jobs', '--pool=gzip', '--state=queued', '--owner=root', '--tag=x', '-n1')
        self.assertEqual(self.asked().split(), ['ListJobs', 'Pool=s:gzip', 'State=s:queued'] +
                         ['Owner=u:0', 'Tag=s:x'])

    # Work

    def test_submit_prints_the_id(self):
        self.assertEqual(self.ctl('submit', 'echo', '--data=hello').out, '1\n')
        self.assertEqual(json.loads(self.ctl('submit', 'echo', '--json=short').out),
                         {'Id': 2, 'Path': '/org/sluice1/job/2'})

    def test_every_option_of_submit_reaches_the_daemon(self):
        rows = [
            (['--priority=-5'], 'Priority=i:-5'),
            (['-p', '-5'], 'Priority=i:-5'),
            (['--wait=2s'], 'WaitUSec=t:2000000'),
            (['--max-attempts=3'], 'MaxAttempts=u:3'),
            (['--delay=1min 30s'], 'DelayUSec=t:90000000'),
            (['--queue-timeout=infinity'], 'QueueTimeoutUSec=t:18446744073709551615'),
            (['--timeout=250ms'], 'RunTimeoutUSec=t:250000'),
            (['--tag=nightly'], 'Tag=s:nightly'),
            (['--key=order 7'], 'Key=s:order 7'),
            (['--concurrency-key=file 1'], 'ConcurrencyKey=s:file 1'),
            (['--notify'], 'Notify=b:1'),
            (['--bind'], 'BindToClient=b:1'),
            (['--output=/dev/null'], 'OutputFd=h'),
            (['one', 'two', '--', '-3', '--x'], 'Arguments=as:one:two:-3:--x'),
        ]
        for options, expected in rows:
            self.ctl('submit', 'echo', *options)
            self.assertEqual(self.asked(), f'Submit echo 0 {expected}')

    def test_payload_comes_from_an_option_a_file_or_standard_input(self):
        with tempfile.NamedTemporaryFile() as file:
            file.write(b'from a file')
            file.flush()
            rows = [
                (['--data=text'], b'', 'Submit echo 4'),
                (['-d', ''], b'ignored', 'Submit echo 0'),
                ([f'--file={file.name}'], b'ignored', 'SubmitFd echo 11'),
                (['--file=-'], b'piped', 'Submit echo 5'),
                (['-'], b'piped', 'Submit echo 5'),
                ([], b'piped', 'Submit echo 5'),
                ([], b'x' * 65536, 'Submit echo 65536'),
                ([], b'x' * 65537, 'SubmitFd echo 65537'),
                ([], b'x' * 3000000, 'SubmitFd echo 3000000'),
            ]
            for arguments, stdin, expected in rows:
                self.ctl('submit', 'echo', *arguments, stdin=stdin)
                self.assertEqual(self.asked(), expected)

    def test_file_as_standard_input_is_passed_as_it_is_unless_it_was_read_from(self):
        with tempfile.TemporaryFile() as file:
            file.write(b'0123456789')
            for offset, expected in (0, 'SubmitFd echo 10'), (4, 'Submit echo 6'):
                file.seek(offset)
                subprocess.run(self.command('submit', 'echo', '-q'), stdin=file, check=True,
                               stdout=subprocess.DEVNULL, env=ENVIRONMENT)
                self.assertEqual(self.asked(), expected)

    def test_pool_that_takes_no_fds_gets_bytes(self):
        self.ctl('submit', 'nofd', stdin=b'x' * 70000)
        self.assertEqual(self.asked(), 'Submit nofd 70000')

    def test_output_file_is_not_emptied_by_the_same_again(self):
        with tempfile.NamedTemporaryFile() as file:
            file.write(b'output')
            file.flush()
            result = self.ctl('submit', 'gzip', '--key=k', f'--output={file.name}', status=2)
            self.assertIn('Expected --output= or --key=, not both', result.err)
            self.assertEqual(os.path.getsize(file.name), 6)

    def test_missing_file_is_a_failure(self):
        result = self.ctl('submit', 'echo', '--file=/nonexistent', status=1)
        self.assertEqual(result.err, 'Failed to open /nonexistent: No such file or directory\n')

    def test_refused_submit_says_why(self):
        result = self.ctl('submit', 'full', status=1)
        self.assertEqual(result.err, 'Failed to submit to pool "full": '
                                     'The queue has 1024 jobs already (QueueFull)\n')
        result = self.ctl('submit', 'nope', status=1)
        self.assertEqual(result.err, 'Failed to submit to pool "nope": no such pool (NotFound)\n')

    def test_submit_with_notify_tells_of_start_and_end(self):
        result = self.ctl('submit', 'echo', '--notify')
        self.assertEqual(result.out, '1\n1 started\n1 succeeded after 1.25ms\n')

    def test_submit_with_bind_exits_as_the_job_did(self):
        self.ctl('submit', 'echo', '--bind')
        result = self.ctl('submit', 'echo', '--bind', '3', status=1)
        self.assertIn('Job 2 failed: exit status 3', result.err)

    def test_run_copies_the_output_of_a_command_through_a_pipe(self):
        data = bytes(range(128)) * 300
        self.assertEqual(self.ctl('run', 'gzip', stdin=data).raw, data.upper())
        self.assertRegex(self.asked(), '^Submit gzip 38400 OutputFd=h BindToClient=b:1$')

    def test_run_prints_the_output_of_other_pools_and_when_buffered(self):
        data = bytes(range(256)) * 4
        self.assertEqual(self.ctl('run', 'echo', stdin=data).raw, data)
        self.assertEqual(self.asked(), 'Submit echo 1024 BindToClient=b:1')
        self.assertEqual(self.ctl('run', 'batch', stdin=data).raw, data)
        self.assertEqual(self.asked(), 'Submit batch 1024 BindToClient=b:1')
        self.assertEqual(self.ctl('run', 'gzip', '--buffered', stdin=b'abc').raw, b'ABC')
        self.assertEqual(self.asked(), 'Submit gzip 3 BindToClient=b:1')

    def test_run_with_a_key_leaves_the_job_to_whoever_asks_next(self):
        # It is bound to no connection, and what is compared is bytes, not memfds.
        self.assertEqual(self.ctl('run', 'gzip', '--key=k', stdin=b'abc').raw, b'ABC')
        self.assertEqual(self.asked(), 'Submit gzip 3 Key=s:k')
        self.ctl('submit', 'echo', '--key=k', stdin=b'x' * 70000)
        self.assertEqual(self.asked(), 'Submit echo 70000 Key=s:k')
        with tempfile.NamedTemporaryFile() as file:
            self.ctl('submit', 'echo', '--key=k', f'--file={file.name}')
            self.assertEqual(self.asked(), 'SubmitFd echo 0 Key=s:k')

    def test_run_exits_with_the_status_of_the_command(self):
        for options in [], ['--buffered'], ['--json=short']:
            result = self.ctl('run', 'gzip', '42', *options, status=42)
            if '--json=short' not in options:
                self.assertIn('failed: exit status 42\ngzip: bad ?[31minput\n', result.err)

    def test_run_as_json_has_output_that_is_no_text_in_base64(self):
        self.assertEqual(json.loads(self.ctl('run', 'echo', '-d', 'ü', '--json=short').out), {
            'Id': 1, 'State': 'finished', 'Result': 'succeeded', 'Output': 'ü'})
        done = json.loads(self.ctl('run', 'echo', '--json=short', stdin=b'\xff\x00\x01').out)
        self.assertEqual(done['OutputBase64'], '/wAB')

    def test_interrupted_run_cancels_the_job_and_says_so(self):
        for number in signal.SIGINT, signal.SIGTERM:
            process = subprocess.Popen(
                self.command('run', 'echo', '--tag=hang', '-d', 'x'), stderr=subprocess.PIPE,
                env=ENVIRONMENT)
            self.addCleanup(process.kill)
            self.assertTrue(self.asked().startswith('Submit echo'))
            self.assertTrue(self.asked().startswith('WaitJob'))
            process.send_signal(number)
            _, err = process.communicate(timeout=60)
            self.assertRegex(err.decode(), r'^Cancelling job \d …\nJob \d was cancelled\.\n$')
            self.assertEqual(process.returncode, 128 + number)

    def test_wait_prints_each_result_and_exits_1_if_one_failed(self):
        self.ctl('submit', 'echo')
        self.assertEqual(self.ctl('wait', '1').out, '1 succeeded\n')
        self.ctl('submit', 'echo', '3')
        self.assertEqual(self.ctl('wait', '1', '2', status=1).out,
                         '1 succeeded\n2 failed: exit status 3 gzip: bad ?[31minput\n')

    def test_wait_without_time_only_looks(self):
        self.ctl('submit', 'echo', '--tag=hang')
        self.assertEqual(self.ctl('wait', '1', '--timeout=0', status=1).out, '1 running\n')

    def test_result_is_raw_and_a_failure_goes_to_standard_error(self):
        data = bytes(range(256))
        self.ctl('submit', 'echo', stdin=data)
        self.assertEqual(self.ctl('result', '1').raw, data)
        self.ctl('submit', 'echo', '3')
        result = self.ctl('result', '2', status=1)
        self.assertEqual((result.out, result.err),
                         ('', 'Job 2 failed: exit status 3\ngzip: bad ?[31minput\n'))
        self.ctl('submit', 'echo', '--tag=hang')
        self.assertEqual(self.ctl('result', '3', status=1).err,
                         'Failed to get the result of job 3: '
                         'The job has not finished (InvalidState)\n')

    def test_cancel_takes_several_ids_and_goes_on_after_a_failure(self):
        self.ctl('submit', 'echo', '--tag=hang')
        self.ctl('submit', 'echo', '--tag=hang')
        result = self.ctl('cancel', '77', '1', '2', status=1)
        self.assertEqual(result.err, 'Failed to cancel job 77: No such job (NotFound)\n')
        self.assertEqual(self.ctl('wait', '1', '2', status=1).out, '1 cancelled\n2 cancelled\n')

    def test_cancel_by_options_says_how_many(self):
        self.assertEqual(self.ctl('cancel', '--pool=gzip', '--tag=x').err, 'Cancelled 1 job.\n')
        self.assertEqual(self.asked(), 'CancelJobs Pool=s:gzip Tag=s:x')

    # Pools and settings

    def test_pools_are_paused_and_resumed(self):
        self.ctl('pause', 'gzip', 'echo')
        self.assertEqual([self.asked(), self.asked()], ['Pause gzip', 'Pause echo'])
        self.ctl('resume', 'gzip.pool')
        self.assertEqual(self.asked(), 'Resume gzip')

    def test_drain_exits_1_if_a_pool_is_not_empty_in_time(self):
        self.ctl('drain', 'gzip')
        self.assertEqual(self.asked(), 'Drain gzip 18446744073709551615')
        result = self.ctl('drain', 'gzip', 'echo', '--timeout=1s', status=1)
        self.assertEqual(result.err, 'Pool "echo" is not empty yet; it goes on draining.\n')
        self.assertEqual([self.asked(), self.asked()], ['Drain gzip 1000000', 'Drain echo 1000000'])
        self.ctl('drain', 'echo', '--timeout=0')

    def test_clear_says_how_many_and_quiet_does_not(self):
        self.assertEqual(self.ctl('clear', 'gzip').err, 'Cancelled 3 jobs that waited in "gzip".\n')
        self.assertEqual(self.ctl('clear', 'gzip', '-q').err, '')

    def test_kick_says_how_many_and_takes_a_bound(self):
        self.assertEqual(self.ctl('kick', 'gzip').err,
                         'Put 3 failed jobs back into the queue of "gzip".\n')
        self.assertEqual(self.asked(), 'Kick gzip 4294967295')
        self.assertEqual(self.ctl('kick', 'gzip', '1').err,
                         'Put 1 failed job back into the queue of "gzip".\n')
        self.assertEqual(self.asked(), 'Kick gzip 1')
        self.assertEqual(self.ctl('kick', 'gzip', '-q').err, '')
        self.asked()

    def test_set_passes_text_in_the_syntax_of_the_files(self):
        self.ctl('set', 'pool/gzip', 'MaxWorkers=8', 'RunTimeout=5min', 'Environment=A=b c')
        self.assertEqual(self.asked(), 'Set gzip MaxWorkers=8 RunTimeout=5min Environment=A=b c')
        self.ctl('set', 'api', 'Rate=10/min')
        self.assertEqual(self.asked(), 'Set api Rate=10/min')

    def test_value_that_the_daemon_refuses_exits_2(self):
        result = self.ctl('set', 'gzip', 'MaxWorkers=x', status=2)
        self.assertEqual(result.err, 'Failed to set MaxWorkers=x of pool "gzip": MaxWorkers: '
                                     'expected a number from 1, not "x" (InvalidArgs)\n')

    def test_create_and_remove_pass_everything(self):
        self.ctl('create', 'pool', 'new', 'Handler=command', 'ExecStart=/bin/cat -n')
        self.assertEqual(self.asked(), 'CreatePool new Handler=command ExecStart=/bin/cat -n')
        self.assertIn('(AlreadyExists)', self.ctl('create', 'pool', 'gzip', status=1).err)
        self.assertEqual(self.asked(), 'CreatePool gzip')
        self.ctl('remove', 'pool', 'new')
        self.ctl('remove', 'pool', 'new', '--cancel')
        self.assertEqual([self.asked(), self.asked()], ['RemovePool new 0', 'RemovePool new 1'])

    def test_cat_prints_the_file_and_its_drop_ins(self):
        with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
            def write(path, text):
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, 'w', encoding='utf-8') as file:
                    file.write(text)

            write(f'{first}/gzip.pool', '[Pool]\nWorkers=1')
            write(f'{second}/gzip.pool', '[Pool]\nWorkers=2\n')
            write(f'{second}/gzip.pool.d/10-a.conf', '[Pool]\nQueueMax=1\n')
            write(f'{first}/gzip.pool.d/20-b.conf', '[Pool]\nQueueMax=2\n')
            write(f'{second}/gzip.pool.d/20-b.conf', '[Pool]\nQueueMax=3\n')
            write(f'{second}/gzip.pool.d/README', 'no settings')
            path = [f'--config={first}', f'--config={second}']
            self.assertEqual(self.ctl('cat', 'gzip', *path).out, (
                f'# {first}/gzip.pool\n[Pool]\nWorkers=1\n\n'
                f'# {second}/gzip.pool.d/10-a.conf\n[Pool]\nQueueMax=1\n\n'
                f'# {first}/gzip.pool.d/20-b.conf\n[Pool]\nQueueMax=2\n'))
            write(f'{second}/api.limiter', '[Limiter]\nRate=1/s\n')
            self.assertEqual(self.ctl('cat', 'api', *path).out,
                             f'# {second}/api.limiter\n[Limiter]\nRate=1/s\n')
            for name, kind in ('echo', 'pool'), ('db', 'breaker'):
                self.assertEqual(
                    self.ctl('cat', name, *path).out,
                    f'# {kind} "{name}" has no file in {first}, {second}.\n'
                    '# It was made at run time, or sluiced was told to read other folders '
                    '(--config=).\n')
            self.assertEqual(
                self.ctl('cat', 'nope', *path, status=1).err,
                'Failed to find "nope": there is no pool, pipeline, limiter or breaker of that name '
                f'(NotFound)\nNor has it a file in {first}, {second}.\n')
            self.assertEqual(
                self.ctl('cat', 'sluiced.conf', *path, status=1).err,
                f'There is no sluiced.conf in {first}, {second}. All its settings are the '
                'defaults, unless sluiced was told to read other folders (--config=).\n')

    def test_reload_prints_every_fault(self):
        self.assertEqual(self.ctl('reload', status=1).err, (
            'Failed to reload the settings; nothing was changed (InvalidArgs):\n'
            '/etc/sluice/a.pool:3: Workers=: expected a number\n'
            '/etc/sluice/b.pool:1: no section\n'))

    def test_check_runs_the_daemon_with_the_same_options(self):
        with tempfile.TemporaryDirectory() as folder:
            os.symlink('/bin/echo', f'{folder}/sluiced')
            copy = f'{folder}/sluicectl'
            with open(SLUICECTL, 'rb') as source, open(copy, 'wb') as target:
                target.write(source.read())
            os.chmod(copy, 0o755)
            result = self.run_raw([copy, 'check', '--user', '--config=/a', '--config=/b'])
            self.assertEqual(result.out, '--check --user --config=/a --config=/b\n')

    # Watching

    def watch(self, *options):
        process = subprocess.Popen(self.command('monitor', *options), bufsize=0,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env=ENVIRONMENT)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.assertEqual(self.asked(), 'Subscribe')
        return process

    def stop(self, process):
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0, err)
        return out.decode()

    def read_lines(self, process, n):
        lines = []
        while len(lines) < n:
            ready, _, _ = select.select([process.stdout], [], [], 60)
            self.assertTrue(ready, f'only {lines}')
            lines.append(process.stdout.readline().decode().strip())
        return lines

    def test_monitor_prints_a_line_per_event_until_interrupted(self):
        process = self.watch('-q')
        self.ctl('submit', 'echo', '--notify')
        self.ctl('pause', 'gzip')
        lines = [line.split(' ', 1)[1] for line in self.read_lines(process, 3)]
        self.assertEqual(lines, ['job 1 started in echo', 'job 1 in echo succeeded after 1.25ms',
                                 'pool gzip: State=paused'])
        self.assertEqual(self.stop(process), '')

    def test_monitor_sees_signals_without_a_sender_on_the_socket_of_the_daemon(self):
        self.address = self.socket
        process = self.watch('-q')
        self.assertIn('job 7 started in echo', self.read_lines(process, 1)[0])
        self.stop(process)

    def test_monitor_as_json_prints_an_object_per_line(self):
        process = self.watch('--json=short')
        self.ctl('submit', 'echo', '--notify')
        self.ctl('pause', 'gzip')
        events = [json.loads(line) for line in self.read_lines(process, 3)]
        self.assertEqual([e['Event'] for e in events],
                         ['JobStarted', 'JobFinished', 'PropertiesChanged'])
        self.assertEqual(events[1]['DurationUSec'], 1250)
        self.assertEqual(events[2]['Properties'], {'State': 'paused'})
        self.stop(process)


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
