"""How the proof's page looks and is searched: style and a few lines of script, inline, for there is no network."""

from __future__ import annotations

STYLE = """
:root{color-scheme:light dark;--ink:#16191d;--dim:#5a6472;--line:#dde2e8;--paper:#fff;--soft:#f5f7f9;--good:#11703a;
--good-soft:#e3f4e9;--bad:#b3151d;--bad-soft:#fde8e8;--warn:#7a4d00;--warn-soft:#fdf1d8;--bar:#4c7fb8}
@media(prefers-color-scheme:dark){:root{--ink:#e7eaee;--dim:#9aa5b2;--line:#303740;--paper:#14171b;--soft:#1c2127;
--good:#6fd596;--good-soft:#15301f;--bad:#ff8a8a;--bad-soft:#3a1719;--warn:#f0c36a;--warn-soft:#332711;--bar:#6f9fd6}}
*{box-sizing:border-box}body{font:15px/1.5 system-ui,sans-serif;margin:0;color:var(--ink);background:var(--paper)}
main{max-width:72rem;margin:0 auto;padding:2rem 1.25rem 4rem}h1{font-size:1.9rem;line-height:1.2;margin:.2rem 0 .6rem}
h2{font-size:1.15rem;margin:2.6rem 0 .7rem}p{margin:.4rem 0}
code{font:.86em ui-monospace,monospace;overflow-wrap:anywhere}
small,.dim{color:var(--dim)}ul{margin:.3rem 0;padding-left:1.2rem}
.verdict{border-left:.45rem solid var(--good);background:var(--good-soft);padding:1.1rem 1.4rem;border-radius:.3rem}
.verdict.open{border-color:var(--bad);background:var(--bad-soft)}.verdict h1{color:var(--good)}
.verdict.open h1{color:var(--bad)}.numbers{display:flex;flex-wrap:wrap;gap:.4rem 2.4rem;margin:1.4rem 0}
.numbers div{min-width:6rem}.numbers b{display:block;font-size:1.5rem;font-variant-numeric:tabular-nums}
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.3rem .7rem .3rem 0;
border-bottom:1px solid var(--line)}th{font-size:.82rem;font-weight:600;color:var(--dim)}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}.gap td:first-child{border-left:.25rem solid
var(--bad);padding-left:.7rem}.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(20rem,1fr));gap:0 2.5rem}
meter,.bar{display:block;height:.6rem;border-radius:.3rem;background:var(--bar)}.track{background:var(--soft);
border-radius:.3rem;min-width:8rem}.tag{font-size:.78rem;font-weight:600;padding:.05rem .5rem;border-radius:1rem;
white-space:nowrap;background:var(--soft);color:var(--dim)}.tag.proved{color:var(--good);background:var(--good-soft)}
.tag.gaps,.tag.below{color:var(--bad);background:var(--bad-soft)}.tag.stand-in,.tag.unproved{color:var(--warn);
background:var(--warn-soft)}#find{font:inherit;width:100%;max-width:26rem;padding:.4rem .7rem;
border:1px solid var(--line);
border-radius:.3rem;background:var(--soft);color:inherit}
.tree,.tree ul{list-style:none;margin:0;padding:0}.tree ul{margin-left:.55rem;padding-left:1rem;border-left:1px solid
var(--line)}.row{display:grid;grid-template-columns:minmax(9rem,1fr) 6rem 8rem 9rem;gap:.8rem;
align-items:baseline;
padding:.18rem 0;border-bottom:1px solid var(--line)}.row b{font-weight:600;overflow-wrap:anywhere}
summary{cursor:pointer}summary.row{list-style:none}summary.row::-webkit-details-marker{display:none}
summary.row b::before{content:"\\25B8\\00A0";color:var(--dim)}
details[open]>summary.row b::before{content:"\\25BE\\00A0"}
.row.plain b::before{content:"\\25B8\\00A0";visibility:hidden}summary:focus-visible{outline:2px solid var(--bar);
outline-offset:1px}.asks{background:var(--soft);padding:.5rem .9rem .7rem;margin:.2rem 0 .5rem 1rem;border-radius:.3rem;
font-size:.9rem}.asks p{margin:.5rem 0 0}.asks table{font-size:.92em}.asks td{padding:.05rem .7rem .05rem 0;border:0}
.head{font-size:.82rem;color:var(--dim);font-weight:600}
@media(max-width:42rem){.row{grid-template-columns:1fr 5.5rem 7.5rem}.row>:nth-child(2){display:none}}
@media print{body{font-size:10.5pt}main{max-width:none;padding:0}#find,.hint{display:none}.verdict,.tag,.bar,.track{
-webkit-print-color-adjust:exact;print-color-adjust:exact}h2,.row,tr{break-inside:avoid}h2{break-after:avoid}}
"""

SCRIPT = """
const box=document.getElementById('find'),said=document.getElementById('found'),
all=[...document.querySelectorAll('.tree li')];
box.addEventListener('input',()=>{const words=box.value.trim().toLowerCase().split(/\\s+/).filter(Boolean);let count=0;
for(const li of all){li.own=words.every(word=>li.dataset.find.includes(word));li.hidden=true;count+=li.own}
for(const li of all)if(li.own)for(let up=li;up;up=up.parentElement.closest('li'))up.hidden=false;
said.textContent=words.length?count+' of '+all.length:'';});
"""
