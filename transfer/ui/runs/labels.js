// The cards: their keys, what follows a choice, and `suspects`, which the buttons around them use.
// `element` is that of the component.
const cards = () => [...element.querySelectorAll(".suspects li")];
const choice = (card, value) => card.querySelector(`input[value=${value}]`);
const count = () => {
    const of = value => element.querySelectorAll(`input[value=${value}]:checked`).length;
    const said = element.querySelector(".decided");
    if (said) said.textContent =
        `${of("relabel")} to relabel, ${of("leave_out")} to leave out, ${of("keep")} to keep.`;
};
const fill = event => {  // every class, once a list of classes is about to be used
    const list = event.target;
    if (list.tagName !== "SELECT" || list.dataset.filled) return;
    const chosen = list.value;
    list.innerHTML = element.querySelector("select.every").innerHTML;
    list.value = chosen;
    list.dataset.filled = "yes";
};
element.addEventListener("focusin", fill);
element.addEventListener("pointerdown", fill);
element.addEventListener("change", event => {
    if (event.target.tagName === "SELECT")
        choice(event.target.closest("li"), "relabel").checked = true;
    count();
});
element.addEventListener("keydown", event => {
    const card = event.target.closest(".suspects li");
    if (!card || event.target.tagName === "SELECT") return;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const value = {k: "keep", r: "relabel", x: "leave_out"}[event.key.toLowerCase()];
    const step = value ? 1 : {ArrowDown: 1, ArrowUp: -1}[event.key];
    if (!step) return;
    event.preventDefault();
    if (value) choice(card, value).checked = true;
    const next = cards()[cards().indexOf(card) + step] || card;
    next.querySelector("input:checked").focus();
    count();
});
const chooseAll = (chosen, value) => {
    chosen.forEach(card => { choice(card, value).checked = true; });
    count();
};
window.suspects = {
    chooseFirst: () => {
        const first = Number(element.querySelector(".suspects").dataset.first);
        chooseAll(cards().slice(0, first), "relabel");
    },
    keepAll: () => chooseAll(cards(), "keep"),
    decisions: () => cards().flatMap((card, row) => {  // to relabel or to leave out
        const value = card.querySelector("input:checked").value;
        if (value === "keep") return [];
        const label = Number(card.querySelector("select").value);
        return [{row, label: value === "relabel" ? label : null}];
    }),
};
