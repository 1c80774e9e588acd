// Shows the clips whose text holds every word; without it the page shows them all.
const box = document.getElementById('filter'), shown = document.getElementById('shown');
const all = shown.textContent;
const clips = [...document.querySelectorAll('.clip')], groups = [...document.querySelectorAll('.group')];
box.addEventListener('input', () => {
  const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const clip of clips) {
    clip.hidden = !words.every(word => clip.dataset.text.includes(word));
    count += !clip.hidden;
  }
  for (const group of groups) group.hidden = !group.querySelector('.clip:not([hidden])');
  shown.textContent = words.length ? `${count} of ${clips.length} clips` : all;
});
