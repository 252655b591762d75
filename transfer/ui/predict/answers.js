// Screen readers hear a verdict once it has stood for a moment, not each one of a live camera;
// folds that were opened stay open in the next answers.
const STANDS = 700;  // milliseconds
const said = element.parentElement.appendChild(document.createElement("div"));
said.className = "hidden";
said.setAttribute("role", "status");
said.setAttribute("aria-live", "polite");
let open = false, timer = null;

element.addEventListener("click", event => {
    const fold = event.target.closest("summary")?.parentElement;
    if (fold) open = !fold.open;  // it opens or closes after this
});
watch("value", () => {
    element.querySelectorAll("details").forEach(fold => { fold.open = open; });
    const text = element.querySelector(".answers")?.dataset.said || "";
    document.dispatchEvent(new CustomEvent("answered", {detail: text}));
    clearTimeout(timer);
    timer = setTimeout(() => { if (said.textContent !== text) said.textContent = text; }, STANDS);
});
