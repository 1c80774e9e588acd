"""Motion of the real slice against its cuboids, which the search never sees."""

from __future__ import annotations

import numpy as np

from pipelines.motion import MotionEstimator, MotionSweep
from store_schema.labels import FlowClass
from tests.support.logs import real_slice
from tests.support.logs.pandaset_flow import pandaset_flow


def test_real_movers_move_and_the_real_street_rests():
    first, frame, count = 1, 10, 20
    motion = MotionEstimator(
        lambda k: MotionSweep.of(real_slice.sweep(first + k), real_slice.ego2world(first + k)), count
    ).motion(frame)[0]
    now = first + frame
    sweep = real_slice.sweep(now)
    truth = pandaset_flow(sweep, real_slice.cuboids(now), real_slice.cuboids(now + 1))
    dt = real_slice.sweep(now + 1).time - sweep.time
    error = np.linalg.norm(motion.velocity * dt - truth.flow, axis=1)
    moving = truth.flow_class == FlowClass.FOREGROUND_DYNAMIC
    rest = np.linalg.norm(truth.flow[moving], axis=1).mean()
    for sensor in (0, 1):
        assert error[moving & (sweep.sensor == sensor)].mean() < 0.3 * rest, sensor
    assert error[truth.flow_class == FlowClass.BACKGROUND_STATIC].mean() < 0.01
    assert error[truth.flow_class == FlowClass.FOREGROUND_STATIC].mean() < 0.01
    still = truth.flow_class == FlowClass.BACKGROUND_STATIC
    assert motion.static[still].mean() > 0.5
    assert not (motion.static & (np.abs(motion.velocity).max(axis=1) > 0)).any()
