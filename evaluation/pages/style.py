"""Style sheet of the report; system fonts only."""

STYLE = """
:root {
  --ink:#1c2230;
  --soft:#5c6577;
  --line:#dfe3ea;
  --paper:#fff;
  --wash:#f5f7fa;
  --accent:#1f5fbf;
  --warn:#9a5b00;
  --warnbg:#fff4de;
}
* { box-sizing: border-box }
body {
  margin:0;
  background:var(--wash);
  color:var(--ink);
  font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;
}
main { max-width:1440px; margin:0 auto; padding:28px 28px 60px }
h1 { font-size:27px; margin:0 0 4px }
h2 { font-size:19px; margin:38px 0 10px }
h3 { font-size:15px; margin:20px 0 8px }
p { max-width:78ch; margin:8px 0 }
.soft { color:var(--soft) }
code { font:13px ui-monospace,"DejaVu Sans Mono",monospace; overflow-wrap:anywhere }
section {
  background:var(--paper);
  border:1px solid var(--line);
  border-radius:10px;
  padding:6px 20px 18px;
  margin-top:20px;
}
section h2 { margin-top:14px }
.scroll { overflow-x:auto }
table { border-collapse:collapse; font-variant-numeric:tabular-nums; font-size:13.5px; margin:8px 0 }
th,td { padding:4px 7px; text-align:right; white-space:nowrap; border-bottom:1px solid var(--line) }
th { color:var(--soft); font-weight:600 }
th.l,td.l { text-align:left }
tr.heads th { border-bottom:2px solid var(--line) }
th.group { text-align:center; color:var(--ink); border-bottom:1px solid var(--line) }
td.first,th.first { border-left:2px solid var(--line) }
td b { color:var(--accent) }
td.na { color:var(--soft) }
tr.next td { border-top:2px solid #b9c1cf }
th small { font-weight:400 }
.tag {
  display:inline-block;
  padding:0 8px;
  border-radius:9px;
  font-size:12px;
  font-weight:600;
  background:var(--warnbg);
  color:var(--warn);
}
.warn { padding:6px 10px; background:var(--warnbg); color:var(--warn) }
.tag.unseen { background:#e2f3e8; color:#1d6b3c }
.grid { display:grid; gap:8px; align-items:start; margin:6px 0 4px }
.grid .head { font-weight:600; font-size:13px }
.grid .side { font-size:13px; color:var(--soft); align-self:center }
.grid img, figure img {
  width:100%;
  display:block;
  border-radius:4px;
  border:1px solid var(--line);
  background:#000;
}
figure { margin:0 }
figcaption { font-size:12.5px; color:var(--soft); margin-top:3px }
.none {
  font-size:12.5px;
  color:var(--soft);
  border:1px dashed var(--line);
  border-radius:4px;
  padding:14px;
  text-align:center;
}
.legend { display:flex; flex-wrap:wrap; gap:26px; align-items:center; font-size:13px; color:var(--soft) }
.legend img { display:block; border:0 }
.legend .bar { width:220px; height:12px; border-radius:3px }
.charts { display:grid; grid-template-columns:repeat(auto-fit,minmax(380px,1fr)); gap:16px }
svg { width:100%; height:auto }
svg .t { font-size:14px; font-weight:600; fill:var(--ink) }
svg .a { font-size:11px; fill:var(--soft) }
svg .g { stroke:var(--line) }
svg .raw { fill:none; stroke:var(--accent); opacity:.25 }
svg .mean { fill:none; stroke:var(--accent); stroke-width:2; stroke-linejoin:round }
svg .dot { fill:var(--paper); stroke:var(--accent); stroke-width:1.6 }
svg .c1 * { stroke:#d9730d }
svg .c2 * { stroke:#1d8a4e }
svg .c3 * { stroke:#8d4bb9 }
.cards { display:grid; grid-template-columns:repeat(auto-fit,minmax(210px,1fr)); gap:14px; margin:18px 0 12px }
.card { background:var(--paper); border:1px solid var(--line); border-radius:10px; padding:12px 16px 14px }
.card .name { font-size:13px; color:var(--soft) }
.card .value { font-size:30px; line-height:1.25; font-weight:650; font-variant-numeric:tabular-nums }
.card .value small { font-size:15px; font-weight:400; color:var(--soft) }
.card .value.none-yet { color:var(--soft); font-weight:400 }
.card .about { font-size:12.5px; color:var(--soft) }
.tall { max-height:460px; overflow-y:auto }
.tall thead { position:sticky; top:0; background:var(--paper) }
tr.marked td { background:#eef7f1 }
.sheet { margin:14px 0 20px }
.sheet figcaption { font-size:13.5px; font-weight:600; color:var(--ink) }
.thirds { display:grid; grid-template-columns:repeat(3,1fr); font-size:12.5px; color:var(--soft); margin:2px 0 }
dl { display:grid; grid-template-columns:max-content 1fr; gap:5px 18px; margin:8px 0; font-size:14px }
dt { color:var(--soft) }
dd { margin:0; overflow-wrap:anywhere }
details summary { cursor:pointer; color:var(--accent); margin:6px 0 }
pre { background:var(--wash); padding:12px; border-radius:6px; overflow:auto; font-size:12.5px; max-height:420px }
ul { padding-left:20px; max-width:84ch }
"""
