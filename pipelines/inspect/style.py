"""Look of a frame's page: what it adds to the style sheet of the summary page."""

from __future__ import annotations

from pipelines.pages import style as page_style

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""No scripts, nothing from elsewhere."""
STYLE = (
    page_style.STYLE
    + """
main { max-width:2000px }
.cameras { display:grid; grid-template-columns:repeat(auto-fit,minmax(min(100%,560px),1fr)); gap:14px }
.wide { grid-template-columns:repeat(auto-fit,minmax(min(100%,800px),1fr)) }
.twins { display:grid; grid-template-columns:1fr 1fr; gap:2px 6px }
.twins figcaption { grid-column:1 / 3 }
figure img { display:block; width:100%; background:#000; border-radius:4px }
figcaption { font-size:14px; margin:6px 0 3px }
figcaption small { color:var(--soft) }
.plan { max-width:1400px; margin:0 auto; background:#0e1117; border-radius:6px }
.ring { fill:none; stroke:#3a4150 }
.far { fill:#8b94a5 }
.plan .far { font-size:13px }
.box { fill:none; stroke:#e8ecf3; stroke-width:1.3; pointer-events:all }
.sibling { stroke:#c58bff; stroke-dasharray:4 3 }
.arrow { fill:none; stroke-width:2.6 }
.fd { stroke:#ffe14a } .fs { stroke:#7fd0ff }
.ego { fill:#fff }
.tag-text { font-size:13px; font-weight:600; paint-order:stroke; stroke:#000; stroke-width:3px }
.timing .spin { fill:var(--accent); background:var(--accent) } .timing .ahead { fill:var(--moving) }
.key .spin { background:var(--accent) } .key .ahead { background:var(--moving) }
.timing .stamp { stroke:var(--bad); stroke-width:2 } .timing .zero { stroke:var(--soft); stroke-width:1.5 }
.timing text { font-size:12px } .key .line { height:2px; width:16px; vertical-align:middle; border-radius:0 }
.scale { max-width:700px; margin:6px 0 10px } .warn { background:var(--badbg); color:var(--bad); border-radius:6px;
padding:8px 12px }
"""
)
"""The whole style sheet."""
