"""draft"""
from __future__ import annotations
import time
from collections import defaultdict
from dataclasses import dataclass
import numpy as np
from numba import njit
from pipelines.motion.config import MotionConfig
from pipelines.motion.sweeps import MotionSweep
from pipelines.motion import rays, ground, persistence, clusters, distance, search, hashing

CLOCK = defaultdict(float)
class clock:
    def __init__(s, n): s.n = n
    def __enter__(s): s.t = time.process_time()
    def __exit__(s, *a): CLOCK[s.n] += time.process_time() - s.t

@njit(cache=True)
def label_grid(points, lab, corner, cell, grid):
    grid[:] = -1
    n = grid.shape[0]
    for p in range(2):
        for i in range(len(points)):
            a = np.int64(np.floor((points[i, 0] - corner[0]) / cell)); b = np.int64(np.floor((points[i, 1] - corner[1]) / cell))
            if a < 1 or b < 1 or a >= n - 1 or b >= n - 1: continue
            if p == 0:
                for u in range(-1, 2):
                    for w in range(-1, 2):
                        g = grid[a + u, b + w]
                        if g < 0 or lab[i] < g: grid[a + u, b + w] = lab[i]
            else: grid[a, b] = lab[i]

@dataclass
class Prep:
    x: object; use: object; away: object; low: object; corner: object; keys: object; ego: object
@dataclass
class Free:
    rows: object; x: object; t: object; free: object; lab: object; n: int; grid: object; corner: object; share: object; through: object; met: object; clear: object; starts: object; order: object; judged: object

class Window:
    """Stage results of a log, each a function of the sweeps around its frame."""
    def __init__(self, sweeps, config=MotionConfig()):
        self.s, self.c = sweeps, config; self.memo = {}; self.turns = {}
        self.size = 256
        self.stencil = distance.distance_stencil(0.1, config.cap)
    def get(self, name, f):
        if not 0 <= f < len(self.s): return None
        k = (name, f)
        if k not in self.memo:
            value = getattr(self, name)(f)
            self.memo[k] = value
        return self.memo[k]
    def prep(self, f):
        s, c = self.s[f], self.c
        with clock('prep'):
            x = s.points; ego = s.ego[:3, 3]
            away = np.hypot(x[:, 0] - ego[0], x[:, 1] - ego[1]).astype(np.float32)
            use = (away > c.own_radius) & (away < c.far)
            corner = np.floor(ego[:2] / c.ground_cell).astype(np.int64) - self.size // 2
            low = np.empty((self.size, self.size), np.float32)
            ground.lowest(x, use, corner, c.ground_cell, low)
        with clock('keys'):
            keys = np.unique(persistence.voxel_keys(x, use & (s.sensor == 0), away, np.array(c.voxel), np.array(c.voxel_ranges), 8.0))
        return Prep(x, use, away, low, corner, keys, ego)
    def rays(self, f):
        s = self.s[f]; p = self.get('prep', f); c = self.c
        with clock('rays sort'):
            g = f - 1 if f else min(1, len(self.s) - 1)
            dt = s.time - self.s[g].time
            rate = (s.ego[:3, 3] - self.s[g].ego[:3, 3]) / dt if dt else np.zeros(3)
            origin = s.ego[:3, 3] + s.ego[:3, 2] * c.lidar_height
            return rays.sort_returns(s.points, s.times, p.use & (s.sensor == 0), origin, rate, s.time, c.columns)
    def height(self, f):
        c = self.c; p = self.get('prep', f)
        with clock('ground'):
            near = [q for o in c.ground_offsets if (q := self.get('prep', f + o)) is not None]
            low = np.empty_like(p.low)
            ground.second_lowest(np.stack([q.low for q in near]), np.stack([p.corner - q.corner for q in near]), low)
            raw = low.copy(); ground.drop_pits(raw, 0.7, 2, low)
            kept = low; low = np.empty_like(kept); ground.lower_envelope(kept, c.ground_slope * c.ground_cell, 4, low)
            return ground.heights(p.x, p.corner, c.ground_cell, low)
    def free(self, f):
        c = self.c; p = self.get('prep', f); h = self.get('height', f); s = self.s[f]
        rows = np.flatnonzero(p.use & (h > c.low) & (h < c.high) & (s.sensor == 0))
        with clock('sort'):
            q = np.floor(p.x[rows] * 1000).astype(np.int64)
            rows = rows[np.lexsort((q[:, 2], q[:, 1], q[:, 0]))]
        x = np.ascontiguousarray(p.x[rows])
        others = [self.get('prep', f + o) for o in c.persistence_offsets]
        others = [o for o in others if o is not None]
        with clock('persist'):
            table, masks = hashing.empty_table(sum(len(o.keys) for o in others) // 2)
            for b, o in enumerate(others): hashing.insert_all(o.keys, 1 << b, table, masks)
            got = persistence.hits(x, np.ones(len(x), bool), p.away[rows], np.array(c.voxel), np.array(c.voxel_ranges), table, masks)
        ask = np.bitwise_count(got) < c.persistent_share * len(others)
        clear = np.zeros_like(got); met = np.zeros_like(got); every = np.ones(len(x), bool)
        near = [f + o for o in c.persistence_offsets if 0 <= f + o < len(self.s)]
        for b, g in enumerate(near):
            R = self.get('rays', g)
            with clock('rays ask'):
                rays.evidence(x, every, *R, c.gap, c.ray_near, c.ray_wide, 1 << b, met, clear)
        rest = met | (got & ~clear)
        share = np.bitwise_count(rest) / np.maximum(np.bitwise_count(rest | clear), 1)
        loose = (share < c.persistent_share) & (np.bitwise_count(clear) >= 2)
        free = loose | ask
        seen_through = loose
        lev = np.searchsorted(np.array(c.cluster_ranges), p.away[rows], side='right'); sizes = np.array(c.cluster_sizes)
        with clock('cluster'):
            lab, n = clusters.connected(x, lev, sizes, hashing.empty_table(len(x))[0])
            size = np.bincount(lab, minlength=n); loose = np.bincount(lab, free, minlength=n) / np.maximum(size, 1)
            lo = np.full((n, 2), np.inf); hi = -lo
            order = np.argsort(lab, kind='stable'); starts = np.searchsorted(lab[order], np.arange(n))
            if n:
                xo = x[order, :2]; lo = np.minimum.reduceat(xo, starts); hi = np.maximum.reduceat(xo, starts)
            ok = (size >= c.min_points) & ((hi - lo).max(1) < c.object_extent) & (loose >= c.object_share)
            free |= ok[lab]
        keep = np.flatnonzero(free)
        xf = x[keep]
        with clock('cluster'):
            lab, n = clusters.connected(xf, lev[keep], sizes, hashing.empty_table(len(xf))[0])
            order = np.argsort(lab, kind='stable'); starts = np.searchsorted(lab[order], np.arange(n + 1))
        with clock('dt'):
            N = int(2 * (c.far + 4) / 0.1); corner = np.floor(p.ego[:2]) - (c.far + 4)
            grid = np.empty((N, N), np.uint8)
            distance.splat_distance(xf, corner, 0.1, self.stencil, grid)
        return Free(rows[keep], xf, s.times[rows[keep]], None, lab, n, grid, corner, share[keep], seen_through[keep], np.bitwise_count(met)[keep], np.bitwise_count(clear)[keep], starts, order, rows)
    def found(self, f):
        c = self.c; F = self.get('free', f); s = self.s
        hops = sorted([h for h in c.hops if 0 <= f + h < len(s)], key=lambda h: (abs(h), h))
        G = [self.get('free', f + h) for h in hops]
        self.turns[f] = W = np.zeros((F.n, 3)); v = np.zeros((F.n, 2)); st = np.zeros(F.n, np.int8); cost = np.ones((F.n, 2))
        if not hops: return v, st, cost
        with clock('stack'):
            grids = np.stack([g.grid for g in G]); corners = np.stack([g.corner for g in G])
        dts = np.array([s[f + h].time - s[f].time for h in hops])
        near = sum(abs(h) == 1 for h in hops) or 1
        M = np.bincount(F.lab, F.met, minlength=F.n); C = np.bincount(F.lab, F.clear, minlength=F.n); through = C >= c.clear_ratio * M
        with clock('search'):
            for a in range(F.n):
                r = F.order[F.starts[a]:F.starts[a + 1]]
                if len(r) < c.min_points: continue
                p = F.x[r, :2]
                if np.ptp(p, axis=0).max() > c.max_extent: continue
                if len(p) > c.sample: p = p[(np.arange(c.sample) * len(p)) // c.sample]
                vx, vy, rest, best = search.search_cluster(np.ascontiguousarray(p), dts, grids, corners, 10.0, near, 2.0, int(c.max_speed / 2), 6, c.speed_weight * 250 / c.cap)
                if len(p) >= 20 and best / 250 * c.cap > c.turn_cost and np.ptp(p, axis=0).max() > 1.5:
                    p = np.ascontiguousarray(p)
                    with clock('turn'):
                        tx, ty, tw, tb = search.search_turn(p, vx, vy, best, dts, grids, corners, 10.0, np.array(c.turn_rates), c.speed_weight * 250 / c.cap)
                    if tb < c.turn_gain * best and (best - tb) / 250 * c.cap > 0.02: vx, vy, best = tx, ty, tb; W[a] = tw, p[:, 0].mean(), p[:, 1].mean()
                rest, best = rest / 250 * c.cap, best / 250 * c.cap
                v[a] = vx, vy; cost[a] = rest, best
                if (through[a] or (C[a] >= c.strong_clear * M[a] and len(r) >= 20 and np.ptp(p[:, :2], axis=0).max() > 1.0 and rest - best > c.strong_gain and best < 0.35 * rest)) and np.hypot(vx, vy) >= c.min_speed and best < c.max_cost and rest - best > max(c.gain, c.gain_ratio * best): st[a] = 2
                elif rest < c.rest_cost: st[a] = 1
        return v, st, cost
    def labels(self, f):
        F = self.get('free', f)
        with clock('labels'):
            g = np.empty((1240, 1240), np.int32)
            label_grid(F.x, F.lab, F.corner, 0.2, g)
        return g
    def agreed(self, f):
        c = self.c; F = self.get('free', f); v, st, cost = self.get('found', f); s = self.s
        asked = np.zeros(F.n); yes = np.zeros(F.n)
        for h in (-2, -1, 1, 2):
            if not 0 <= f + h < len(s): continue
            G = self.get('free', f + h); v2, st2, _ = self.get('found', f + h); lg = self.get('labels', f + h)
            with clock('agree'):
                dt = s[f + h].time - s[f].time
                m = np.flatnonzero(st[F.lab] == 2)
                y = F.x[m, :2] + v[F.lab[m]] * dt
                ij = np.floor((y - G.corner) / 0.2).astype(int); inside = ((ij >= 0) & (ij < 1240)).all(1)
                ij = np.clip(ij, 0, 1239); hit = np.where(inside, lg[ij[:, 0], ij[:, 1]], -1)
                np.add.at(asked, F.lab[m], 1)
                k = hit >= 0
                a, b = F.lab[m[k]], hit[k]
                same = (st2[b] == 2) & (np.linalg.norm(v2[b] - v[a], axis=1) < np.maximum(c.agree_speed, c.agree_ratio * np.linalg.norm(v[a], axis=1)))
                np.add.at(yes, a, same)
        st = st.copy(); bad = (st == 2) & (yes < c.agree_share * asked)
        st[bad] = 0
        return v, st, yes / np.maximum(asked, 1)
    def final(self, f):
        """velocity [P,3], confidence, ..."""
        c = self.c; F = self.get('free', f); P = self.get('prep', f); v, st, share = self.get('agreed', f); h = self.get('height', f); s = self.s[f]
        vel = np.zeros((len(P.x), 3), np.float32); conf = np.ones(len(P.x), np.float32)
        state = np.ones(len(P.x), np.int8)
        pst = st[F.lab]; W = self.turns[f][F.lab]; pv = v[F.lab].copy(); pv[:, 0] -= W[:, 0] * (F.x[:, 1] - W[:, 2]); pv[:, 1] += W[:, 0] * (F.x[:, 0] - W[:, 1]); pv[pst != 2] = 0
        # fill unknown
        unk = pst == 0
        tot = np.zeros((len(F.x), 2)); tot2 = np.zeros((len(F.x), 2)); w = np.zeros(len(F.x))
        for o in (-2, -1, 1, 2):
            if not 0 <= f + o < len(self.s): continue
            G = self.get('free', f + o); v2, st2, _ = self.get('agreed', f + o)
            with clock('fill'):
                m = st2[G.lab] == 2
                if not m.any(): continue
                dt = s.time - self.s[f + o].time
                y = G.x[m].copy(); y[:, :2] += v2[G.lab[m]] * dt
                lg = np.empty((1240, 1240), np.int32); label_grid(y, G.lab[m], F.corner, 0.3, lg)
                k = np.flatnonzero(unk); ij = np.floor((F.x[k, :2] - F.corner) / 0.3).astype(int); hit = lg[ij[:, 0].clip(0, 1239), ij[:, 1].clip(0, 1239)]
                ok = hit >= 0
                vv = v2[hit[ok]]; tot[k[ok]] += vv; tot2[k[ok]] += vv**2; w[k[ok]] += 1
        k = np.flatnonzero(w > 0); mean = tot[k] / w[k, None]; spread = np.sqrt(np.maximum(tot2[k] / w[k, None] - mean**2, 0).sum(1))
        k2 = k[spread < 1.5]; pv[k2] = mean[spread < 1.5]; pst = pst.copy(); pst[k2] = 2
        vel[F.rows, :2] = pv; state[F.rows] = pst
        with clock('low'):
            mv = np.flatnonzero(pst == 2)
            if len(mv):
                done = np.zeros(len(P.x), bool); done[F.rows] = True
                for lo, hi, cell in ((-0.03, 0.1, c.foot_cell), (0.1, c.low, 0.2)):
                    n = int(248 / cell); lg = np.empty((n, n), np.int32); label_grid(F.x[mv], mv.astype(np.int32), F.corner, cell, lg)
                    lowp = np.flatnonzero(~done & P.use & (h > lo) & (h <= hi) & (s.sensor == 0))
                    ij = np.floor((P.x[lowp, :2] - F.corner) / cell).astype(int); hit = lg[ij[:, 0].clip(0, n - 1), ij[:, 1].clip(0, n - 1)]
                    ok = hit >= 0; vel[lowp[ok], :2] = pv[hit[ok]]; state[lowp[ok]] = 2
        reason = np.full(len(P.x), 10, np.int8)  # 10 outside
        reason[P.use & (h <= 0.08)] = 11; reason[P.use & (h > 0.08) & (h <= c.low)] = 12; reason[P.use & (h >= c.high)] = 13
        reason[s.sensor == 1] = 14
        reason[F.judged] = 15  # persistent
        size = np.bincount(F.lab, minlength=F.n)
        ext = np.array([np.ptp(F.x[F.order[F.starts[a]:F.starts[a+1]], :2], axis=0).max() for a in range(F.n)])
        rr = np.where(size < c.min_points, 16, np.where(ext > c.max_extent, 17, np.where(self.get('found', f)[1] == 2, 18, 19)))
        fr = np.where(pst == 2, 2, np.where(pst == 1, 1, rr[F.lab])); reason[F.rows] = fr; reason[(state == 2)] = 2
        return vel, state, reason

def estimate_motion(sweeps, config=MotionConfig()):
    w = Window(sweeps, config)
    return [w.get('final', f) for f in range(len(sweeps))], w
