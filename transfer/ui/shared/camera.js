// What every camera of the page needs; it stands before a component's own script.
const REFUSED = {
    NotAllowedError: "The camera was not allowed. Allow it in the browser, or add photos.",
    NotFoundError: "No camera was found. Connect one, or add photos.",
};
const NEITHER_HTTPS_NOR_HERE = "The camera cannot be used here. Open the page over https, or add photos.";
const closeCamera = video => {
    video.srcObject?.getTracks().forEach(track => track.stop());
    video.srcObject = null;
};
const openCamera = async (video, wanted, ended) => {  // throws what to show
    try {
        const stream = await navigator.mediaDevices.getUserMedia({video: wanted});
        stream.getTracks()[0].addEventListener("ended", ended);
        video.srcObject = stream;
        await video.play();
    } catch (error) {
        closeCamera(video);
        throw REFUSED[error.name] || NEITHER_HTTPS_NOR_HERE;
    }
};
const drawn = (canvas, source, width, height, most) => {  // its shorter side has at most so many pixels
    const scale = Math.min(1, most / Math.min(width, height));
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    const pen = canvas.getContext("2d");
    pen.fillStyle = "white";  // below what is transparent
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(source, 0, 0, canvas.width, canvas.height);
    return canvas;
};
