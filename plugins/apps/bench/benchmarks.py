"""Benchmarks that people can repeat. Each function is one command of ``genzoo bench``."""

from genzoo.plugins.apps.bench.bench_report import Table as Table
from genzoo.plugins.apps.bench.bench_report import machine_named as machine_named
from genzoo.plugins.apps.bench.bench_report import sentence as sentence
from genzoo.plugins.apps.bench.coverage import CONTENDERS as CONTENDERS
from genzoo.plugins.apps.bench.coverage import KNOWN as KNOWN
from genzoo.plugins.apps.bench.coverage import MIXTURES as MIXTURES
from genzoo.plugins.apps.bench.coverage import STACKS as STACKS
from genzoo.plugins.apps.bench.coverage import Contender as Contender
from genzoo.plugins.apps.bench.coverage import ModeResult as ModeResult
from genzoo.plugins.apps.bench.coverage import contenders as contenders
from genzoo.plugins.apps.bench.coverage import mode_rows as mode_rows
from genzoo.plugins.apps.bench.coverage import mode_table as mode_table
from genzoo.plugins.apps.bench.coverage import modes as modes
from genzoo.plugins.apps.bench.coverage import reference_lines as reference_lines
from genzoo.plugins.apps.bench.damages import DAMAGES as DAMAGES
from genzoo.plugins.apps.bench.leaderboard import Board as Board
from genzoo.plugins.apps.bench.leaderboard import board_table as board_table
from genzoo.plugins.apps.bench.leaderboard import zoo as zoo
from genzoo.plugins.apps.bench.nll import likelihood as likelihood
from genzoo.plugins.apps.bench.sensitivity import CLAIMS as CLAIMS
from genzoo.plugins.apps.bench.sensitivity import Sensitivity as Sensitivity
from genzoo.plugins.apps.bench.sensitivity import check_claims as check_claims
from genzoo.plugins.apps.bench.sensitivity import sensitivity as sensitivity
from genzoo.plugins.apps.bench.sensitivity import sensitivity_table as sensitivity_table
