// The rows of finished runs. `element`, `trigger` and `watch` are those of the component.
const ticked = new Set();
let focusNext;  // [event, run] of the button that has the focus after the next change
let renaming;  // {run, field} while a name is being typed
let alarm;

const button = (event, run) => [...element.querySelectorAll("button")].find(
    each => each.dataset.do === event && each.dataset.run === run);

const local = time => {
    const at = new Date(time.dateTime), two = number => String(number).padStart(2, "0");
    const month = at.toLocaleString("en-US", {month: "short"});
    return `${at.getDate()} ${month} ${two(at.getHours())}:${two(at.getMinutes())}`;
};

const rename = (run, typed) => {
    const opener = button("edit", run);
    if (!opener) return;
    const name = opener.closest("li").querySelector("div > b"), before = name.textContent;
    const form = document.createElement("form"), field = document.createElement("input");
    form.innerHTML = '<button>Save</button><button type="button">Cancel</button>';
    field.value = typed ?? before;
    field.setAttribute("aria-label", `New name of ${before}`);
    form.prepend(field);
    const close = () => {
        renaming = null;
        form.replaceWith(name);
        opener.focus();
    };
    form.addEventListener("submit", event => {
        event.preventDefault();
        if (field.value === before) return close();
        focusNext = ["edit", run];
        trigger("edit", {run, name: field.value});
    });
    form.addEventListener("keydown", event => { if (event.key === "Escape") close(); });
    form.lastChild.addEventListener("click", close);
    name.replaceWith(form);
    renaming = {run, field, before};
    field.focus();
    if (typed === undefined) field.select();
};

// looks again when a run is to be removed, or a deleted one can no longer be brought back
const wait = () => {
    clearTimeout(alarm);
    const at = element.firstElementChild?.dataset.changes;
    if (!at) return;
    const left = Math.max(1000 * at - Date.now(), 5_000);
    alarm = setTimeout(() => { trigger("tick"); wait(); }, Math.min(left, 2 ** 31 - 1));
};

const changed = () => {
    element.querySelectorAll("time").forEach(time => { time.textContent = local(time); });
    const boxes = [...element.querySelectorAll("input[type=checkbox]")];
    const runs = boxes.map(box => box.value);
    ticked.forEach(run => { if (!runs.includes(run)) ticked.delete(run); });
    boxes.forEach(box => { box.checked = ticked.has(box.value); });
    const active = document.activeElement;
    if (focusNext && (active === document.body || element.contains(active)))
        button(...focusNext)?.focus();
    else if (renaming && !renaming.field.isConnected) rename(renaming.run, renaming.field.value);
    if (focusNext) renaming = focusNext = null;
    wait();
};

element.addEventListener("click", event => {
    const {do: what, run} = event.target.closest("button")?.dataset ?? {};
    if (!what) return;
    if (what === "edit") return rename(run);
    focusNext = {delete: ["undo", run], undo: ["select", run]}[what];
    trigger(what, what === "submit" ? {runs: [...ticked]} : {run});
});
element.addEventListener("change", event => {
    const {value, checked} = event.target;
    if (event.target.type === "checkbox") ticked[checked ? "add" : "delete"](value);
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) trigger("tick"); });
watch("value", changed);
changed();
