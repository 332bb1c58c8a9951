"""What developers measure with: loops by hand, other libraries, what each default brings. It ships in no wheel.

``genzoo bench train``, ``sample``, ``defaults`` and ``precision`` run it from a clone.
"""

from genzoo_bench.cases import CASES as CASES
from genzoo_bench.cases import Case as Case
from genzoo_bench.choices import CHANGES as CHANGES
from genzoo_bench.choices import MEASURED as MEASURED
from genzoo_bench.choices import Default as Default
from genzoo_bench.choices import defaults as defaults
from genzoo_bench.choices import defaults_table as defaults_table
from genzoo_bench.quality import JUDGED as JUDGED
from genzoo_bench.quality import Quality as Quality
from genzoo_bench.quality import precision as precision
from genzoo_bench.quality import quality_table as quality_table
from genzoo_bench.sampling import SAMPLED as SAMPLED
from genzoo_bench.sampling import Sampling as Sampling
from genzoo_bench.sampling import sample as sample
from genzoo_bench.sampling import sampling_table as sampling_table
from genzoo_bench.speed import AGAINST as AGAINST
from genzoo_bench.speed import Speed as Speed
from genzoo_bench.speed import speed_table as speed_table
from genzoo_bench.speed import train as train
