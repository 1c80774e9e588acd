"""Style sheet and filter of the summary page; system fonts, light or dark as the reader's system is."""

STYLE = """
:root {
  color-scheme:light dark;
  --ink:#1b212d; --soft:#5b6475; --line:#dfe3ea; --paper:#fff; --wash:#f4f6f9;
  --accent:#2563b8; --bad:#a8261b; --badbg:#fdeae7;
  --ignored:#b9c0cb; --still:#7f93ad; --parked:#2f6fc4; --moving:#ff5c28;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink:#e4e8ef; --soft:#98a2b3; --line:#2c3340; --paper:#181c24; --wash:#0f1218;
    --accent:#6ea8ff; --bad:#ff9a8e; --badbg:#3a1c1a;
    --ignored:#4a5261; --still:#66788f; --parked:#5b97ea; --moving:#ff7240;
  }
}
* { box-sizing:border-box }
body {
  margin:0; background:var(--wash); color:var(--ink);
  font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;
}
main { max-width:1440px; margin:0 auto; padding:28px 24px 60px }
h1 { font-size:26px; margin:0 0 2px }
h2 { font-size:18px; margin:14px 0 8px }
h3 { font-size:15px; margin:22px 0 8px }
h3 small, .soft { color:var(--soft); font-weight:400 }
code { font:13px ui-monospace,"DejaVu Sans Mono",monospace; overflow-wrap:anywhere }
section {
  background:var(--paper); border:1px solid var(--line); border-radius:10px;
  padding:4px 20px 16px; margin-top:18px;
}
.pair { display:grid; grid-template-columns:repeat(auto-fit,minmax(min(100%,430px),1fr)); gap:0 18px }
.pair > section { min-width:0 }
.scroll { overflow-x:auto }
table { border-collapse:collapse; font-variant-numeric:tabular-nums; font-size:14px }
th,td { padding:4px 12px 4px 0; text-align:right; white-space:nowrap; border-bottom:1px solid var(--line) }
th { color:var(--soft); font-weight:600 }
th.l,td.l { text-align:left }
tr.total td { font-weight:600; border-bottom:0 }
dl { display:grid; grid-template-columns:max-content 1fr; gap:3px 18px; margin:8px 0; font-size:14px }
dt { color:var(--soft) }
dd { margin:0; overflow-wrap:anywhere }
details summary { cursor:pointer; color:var(--accent); margin:6px 0 }
.charts { display:grid; grid-template-columns:repeat(auto-fit,minmax(min(100%,380px),1fr)); gap:18px }
figure { margin:0 }
.chart figcaption { font-size:14px; font-weight:600; margin:6px 0 }
svg { width:100%; height:auto; display:block }
svg text { font-size:11px; fill:var(--soft) }
svg line { stroke:var(--line) }
svg .bar { fill:var(--accent) }
svg .hit { fill:transparent }
svg g:hover .bar { fill:var(--moving) }
.na { color:var(--soft); border:1px dashed var(--line); border-radius:6px; padding:40px 12px; text-align:center }
.key { display:flex; flex-wrap:wrap; gap:4px 16px; font-size:12.5px; color:var(--soft); margin:2px 0 0 }
.key i { display:inline-block; width:10px; height:10px; border-radius:2px; margin-right:5px }
.ignored { fill:var(--ignored); background:var(--ignored) }
.still { fill:var(--still); background:var(--still) }
.parked { fill:var(--parked); background:var(--parked) }
.moving { fill:var(--moving); background:var(--moving) }
.bar-row { display:flex; height:6px; border-radius:3px; overflow:hidden; margin:6px 0 0; background:var(--line) }
.tools { display:flex; flex-wrap:wrap; gap:12px; align-items:center; margin:8px 0 }
input[type=search] {
  font:inherit; color:inherit; background:var(--wash); border:1px solid var(--line);
  border-radius:8px; padding:7px 12px; width:min(100%,380px);
}
input:focus-visible { outline:2px solid var(--accent); outline-offset:1px }
.gallery { display:grid; grid-template-columns:repeat(auto-fill,minmax(min(100%,404px),1fr)); gap:14px }
.clip {
  border:1px solid var(--line); border-radius:9px; padding:10px; background:var(--wash); min-width:0;
  content-visibility:auto; contain-intrinsic-size:auto 404px auto 224px;
}
.clip .pictures { display:grid; grid-template-columns:16fr 9fr; gap:8px; align-items:start }
.clip img { display:block; width:100%; border-radius:5px; background:#10131a }
.clip img.plan { aspect-ratio:1 }
.clip h4 { margin:8px 0 0; font-size:14px; overflow-wrap:anywhere }
.clip p { margin:1px 0 0; font-size:12.5px; color:var(--soft); overflow-wrap:anywhere }
.damaged { border-color:var(--bad) }
.reason { background:var(--badbg); color:var(--bad); border-radius:6px; padding:10px 12px; font-size:13px }
.tag { background:var(--badbg); color:var(--bad); border-radius:9px; padding:1px 9px; font-size:13px; font-weight:600 }
[hidden] { display:none !important }
@media print { section { break-inside:avoid } .tools { display:none } }
"""

SCRIPT = """
const box = document.getElementById('filter'), shown = document.getElementById('shown');
const all = shown.textContent;
const clips = [...document.querySelectorAll('.clip')], groups = [...document.querySelectorAll('.group')];
box.addEventListener('input', () => {
  const words = box.value.toLowerCase().split(/\\s+/).filter(Boolean);
  let count = 0;
  for (const clip of clips) {
    clip.hidden = !words.every(word => clip.dataset.text.includes(word));
    count += !clip.hidden;
  }
  for (const group of groups) group.hidden = !group.querySelector('.clip:not([hidden])');
  shown.textContent = words.length ? `${count} of ${clips.length} clips` : all;
});
"""
"""Shows the clips whose text holds every word; without it the page shows them all."""
